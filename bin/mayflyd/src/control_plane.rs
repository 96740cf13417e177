use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use mayfly_control::{ApiLimits, Control, ControlConfig, ControlDeps, LateRouter};
use mayfly_control_store::ControlStore;
use mayfly_net::{DoorwayListener, Listener, ServeConfig, serve};
use mayfly_runtime::{Backoff, Clock, Entropy, TaskSet};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admin_token;
use crate::local_registry::{LocalRegistry, registry_only};

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(250),
    most: Duration::from_secs(5),
};

/// How long the loops of a control plane that came late may take to end.
const LOOPS_PATIENCE: Duration = Duration::from_secs(5);

/// How to find the control store, and what a cloud begins with.
#[derive(Clone)]
pub(crate) struct StoreAccess {
    pub(crate) url: String,
    /// A store on another server may be away for a while; a file is there or broken.
    pub(crate) may_be_away: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) domain: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl StoreAccess {
    /// The store, or `None` if its server does not answer and may do so later.
    pub(crate) async fn open(&self) -> anyhow::Result<Option<ControlStore>> {
        let store = match ControlStore::open(&self.url).await {
            Ok(store) => store,
            Err(error) if self.may_be_away && error.is_away() => {
                warn!(
                    error = mayfly_runtime::report(&error),
                    "the control store is away; machines and traffic go on without it"
                );
                return Ok(None);
            }
            Err(error) => return Err(error).context("open the control store"),
        };
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        admin_token::first_start(&self.data_dir, &store, clock, entropy, &self.domain).await?;
        Ok(Some(store))
    }
}

/// Everything a control plane needs but its store.
pub(crate) struct Plan {
    pub(crate) access: StoreAccess,
    pub(crate) config: ControlConfig,
    pub(crate) limits: ApiLimits,
    pub(crate) registry: LocalRegistry,
    pub(crate) deps: Box<dyn Fn(ControlStore) -> ControlDeps + Send + Sync>,
}

impl Plan {
    async fn build(&self, store: ControlStore) -> anyhow::Result<Control> {
        let control = self.config.clone().build((self.deps)(store)).await;
        Ok(control
            .context("build the control plane")?
            .limited(self.limits))
    }

    /// Tries until the store is there.
    async fn build_late(&self) -> Control {
        let mut attempt = 0;
        loop {
            let built = match self.access.open().await {
                Ok(Some(store)) => self.build(store).await.map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            match built {
                Ok(Some(control)) => return control,
                Ok(None) => {}
                Err(error) => warn!(error = format!("{error:#}"), "no control plane yet"),
            }
            tokio::time::sleep(RETRY.pause(attempt)).await;
            attempt = attempt.saturating_add(1);
        }
    }
}

/// A control plane that may not be there yet.
#[derive(Clone)]
pub(crate) struct LateControl(Arc<OnceLock<Control>>);

impl LateControl {
    pub(crate) fn get(&self) -> Option<&Control> {
        self.0.get()
    }
}

/// The control plane of this process, which is there from the start or once its store is.
pub(crate) struct ControlPlane {
    control: Arc<OnceLock<Control>>,
    registry: LocalRegistry,
    present: watch::Sender<bool>,
    /// What remains to be done while there is none.
    waiting: Option<(Plan, LateRouter)>,
}

impl ControlPlane {
    pub(crate) async fn new(plan: Plan, store: Option<ControlStore>) -> anyhow::Result<Self> {
        let control = Arc::new(OnceLock::new());
        let registry = plan.registry.clone();
        let waiting = match store {
            Some(store) => {
                control.set(plan.build(store).await?).ok();
                None
            }
            None => Some((plan, LateRouter::default())),
        };
        Ok(Self {
            present: watch::Sender::new(waiting.is_none()),
            control,
            registry,
            waiting,
        })
    }

    /// What servers of the fleet ask of it; refused for a while as long as there is none.
    pub(crate) fn door(&self) -> LateControl {
        LateControl(Arc::clone(&self.control))
    }

    /// True once there is one.
    pub(crate) fn present(&self) -> watch::Receiver<bool> {
        self.present.subscribe()
    }

    /// The API; while there is no control plane it answers with the reason why not. Each call makes one with limits of
    /// its own.
    pub(crate) fn router(&self) -> Router {
        match (self.control.get(), &self.waiting) {
            (Some(control), _) => self.registry.beside(control),
            (None, Some((_, late))) => late.router(),
            (None, None) => unreachable!("whoever has no control plane waits for one"),
        }
    }

    /// Starts to answer on `listener`.
    pub(crate) async fn serve(&self, listener: TcpListener, tasks: &TaskSet) {
        self.answer(listener, self.router(), tasks).await;
    }

    /// Starts to answer on `listener` what is for the registry.
    pub(crate) async fn serve_registry(&self, listener: DoorwayListener, tasks: &TaskSet) {
        self.answer(listener, registry_only(self.router()), tasks)
            .await;
    }

    async fn answer<L: Listener>(&self, listener: L, router: Router, tasks: &TaskSet) {
        tasks
            .spawn("api", |stop| async move {
                if !serve(listener, router, ServeConfig::default(), stop).await {
                    warn!("some requests were cut off");
                }
            })
            .await;
    }

    /// Starts its loops, now or when it is there.
    pub(crate) async fn spawn(&mut self, tasks: &TaskSet) {
        if let Some(control) = self.control.get() {
            control.spawn_loops(tasks).await;
            self.registry.spawn(control, tasks).await;
        }
        let Some((plan, late)) = self.waiting.take() else {
            return;
        };
        let (control, present) = (Arc::clone(&self.control), self.present.clone());
        let registry = self.registry.clone();
        tasks
            .spawn("control", |stop| async move {
                let Some(built) = stop.run_until_cancelled(plan.build_late()).await else {
                    return;
                };
                let loops = TaskSet::under(&stop);
                built.spawn_loops(&loops).await;
                registry.spawn(&built, &loops).await;
                late.open(registry.beside(&built));
                control.set(built).ok();
                present.send_replace(true);
                info!("the control store is there; the API serves");
                stop.cancelled().await;
                loops.shut_down(LOOPS_PATIENCE).await;
            })
            .await;
    }

    /// Waits for operations whose requests have ended; true if all ended within `patience`.
    pub(crate) async fn drain(&self, patience: Duration) -> bool {
        match self.control.get() {
            Some(control) => control.drain(patience).await,
            None => true,
        }
    }
}
