use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mayfly_driver::{Driver, DriverError, Observed};
use mayfly_guest::{ExitRecord, GuestRecord};
use mayfly_image::Pinned;
use mayfly_machine::{Body, Effect, Event, Exit, Fault, GuestRef, Machine, VolumeNote};
use mayfly_runtime::report;
use mayfly_types::{InstanceId, LaunchId, MachineId};
use tracing::warn;

use crate::config::door_dir;
use crate::host::Shared;
use crate::shells::Shells;
use crate::{launch, runner_log};

/// An effect under way.
pub(crate) struct Acting {
    pub(crate) effect: Effect,
    /// The version it is for.
    pub(crate) instance_id: InstanceId,
    pub(crate) future: BoxFuture<'static, Outcome>,
    in_driver: Arc<AtomicBool>,
}

impl Acting {
    /// Whether only images are being waited for: a pull goes on without us. Calls of the driver are heard out.
    pub(crate) fn may_be_dropped(&self) -> bool {
        !self.in_driver.load(Ordering::SeqCst)
    }
}

/// What an effect came to.
pub(crate) enum Outcome {
    Event(Event),
    /// Nothing is known to have changed: to be tried again, after a back-off unless said otherwise.
    Again {
        error: Option<String>,
        after: Option<Duration>,
    },
}

/// A guest that was killed is gone at once, or something is very wrong.
const KILLED_BY: Duration = Duration::from_secs(10);

/// Begins an effect for the machine as it is now.
pub(crate) fn perform(shared: &Arc<Shared>, machine: &Machine, effect: Effect) -> Acting {
    let in_driver = Arc::new(AtomicBool::new(!matches!(
        effect,
        Effect::Prepare { .. } | Effect::Launch { .. }
    )));
    let performing = Performing {
        shared: shared.clone(),
        machine: machine.clone(),
        in_driver: in_driver.clone(),
    };
    Acting {
        effect,
        instance_id: machine.version.instance_id,
        future: performing.perform(effect).boxed(),
        in_driver,
    }
}

struct Performing {
    shared: Arc<Shared>,
    machine: Machine,
    in_driver: Arc<AtomicBool>,
}

impl Performing {
    async fn perform(self, effect: Effect) -> Outcome {
        let id = self.machine.identity.machine_id;
        let driver = self.shared.deps.driver.clone();
        match effect {
            Effect::Prepare { images } => Outcome::Event(self.prepare(images).await),
            Effect::Launch { launch_id } => match self.launch(launch_id).await {
                Ok(event) => Outcome::Event(event),
                Err((fault, reason)) => Outcome::Event(Event::LaunchFailed {
                    launch_id,
                    fault,
                    reason,
                }),
            },
            Effect::Observe => match driver.observe(id).await {
                Ok(observed) => Outcome::Event(Event::Observed {
                    body: body(observed),
                }),
                Err(error) => again(&error),
            },
            Effect::Signal { launch_id, signal } => match driver.signal(id, signal).await {
                // One that is gone has ended; the watch says how.
                Ok(()) | Err(DriverError::NotRunning(_)) => {
                    Outcome::Event(Event::Signalled { launch_id })
                }
                Err(error) => again(&error),
            },
            Effect::Kill { .. } => match driver.kill(id).await {
                // The watch tells of the end. Should it not come, the kill is repeated.
                Ok(()) => Outcome::Again {
                    error: None,
                    after: Some(KILLED_BY),
                },
                Err(error) => again(&error),
            },
            Effect::Freeze { launch_id } => match driver.freeze(id).await {
                Ok(()) => Outcome::Event(Event::Frozen { launch_id }),
                Err(error) => again(&error),
            },
            Effect::Thaw { launch_id } => match driver.thaw(id).await {
                Ok(()) => Outcome::Event(Event::Thawed { launch_id }),
                Err(error) => again(&error),
            },
            Effect::Clean => match self.clean().await {
                Ok(()) => Outcome::Event(Event::Cleaned),
                Err(error) => again(&error),
            },
            Effect::Remove => match self.remove().await {
                Ok(()) => Outcome::Event(Event::Removed),
                Err(error) => again(&error),
            },
            // Watching goes on beside the other effects: see `watch`.
            Effect::Watch { .. } => std::future::pending().await,
        }
    }

    async fn prepare(&self, images: bool) -> Event {
        let prepared = async {
            if images {
                self.images().await?;
            }
            self.in_driver.store(true, Ordering::SeqCst);
            let body = launch::body(&self.machine);
            self.shared
                .deps
                .driver
                .provision(&body)
                .await
                .map_err(failure)
        };
        match prepared.await {
            Ok(()) => Event::Prepared,
            Err((fault, reason)) => Event::PrepareFailed { fault, reason },
        }
    }

    /// Starts the guest, or finds what an interrupted start of the same launch has come to.
    async fn launch(&self, launch_id: LaunchId) -> Result<Event, (Fault, String)> {
        let pins = self.images().await?;
        let launch = launch::launch(&self.shared, &self.machine, launch_id, &pins)
            .map_err(|error| (Fault::Guest, report(&error)))?;
        let id = self.machine.identity.machine_id;
        let driver = &self.shared.deps.driver;
        self.in_driver.store(true, Ordering::SeqCst);
        match body(driver.observe(id).await.map_err(failure)?) {
            Body::Absent => {}
            Body::Running(guest) | Body::Frozen(guest) if guest.launch_id == launch_id => {
                return Ok(Event::Launched { guest });
            }
            Body::Exited {
                launch_id: ended,
                exit,
            } if ended == launch_id => {
                return Ok(Event::Exited { launch_id, exit });
            }
            Body::Running(_) | Body::Frozen(_) | Body::Exited { .. } => {
                self.clean().await.map_err(failure)?;
            }
        }
        let door = door_dir(&self.shared.config.data_dir, id);
        tokio::fs::create_dir_all(&door)
            .await
            .map_err(|error| (Fault::Host, format!("make {}: {error}", door.display())))?;
        let now = self.shared.now();
        runner_log::write(
            &self.shared.config,
            id,
            now,
            vec!["Starting machine".into()],
        )
        .await;
        let repairs = self.shared.ready_volumes(&self.machine).await;
        for (volume, said) in repairs.map_err(failure)? {
            self.tell_repair(VolumeNote { volume, said }).await;
        }
        let body = launch::body(&self.machine);
        driver.provision(&body).await.map_err(failure)?;
        let record = driver.launch(&body, &launch).await.map_err(failure)?;
        // Clients come as soon as the machine is said to be started.
        Shells::open(&self.shared, &self.machine).await;
        Ok(Event::Launched {
            guest: guest(&record),
        })
    }

    /// By way of the machine's actor, which waits for us: it is not waited for.
    async fn tell_repair(&self, note: VolumeNote) {
        let shared = self.shared.clone();
        let machine_id = self.machine.identity.machine_id;
        let tell = async move {
            let told = shared
                .request(machine_id, Event::VolumeRepaired(note))
                .await;
            if let Err(error) = told {
                warn!(%machine_id, error = report(&error), "repair of a volume not reported");
            }
        };
        self.shared
            .tasks
            .spawn_guarded("host.volume-repair", |_| Box::pin(tell))
            .await;
    }

    /// Makes the images of the machine's version local, telling its log when that takes a pull.
    async fn images(&self) -> Result<Vec<Pinned>, (Fault, String)> {
        let id = self.machine.identity.machine_id;
        let mut pins = Vec::new();
        for image in self.machine.images() {
            let store = &self.shared.deps.images;
            let is_here = image
                .digest()
                .and_then(|digest| store.info(digest).ok())
                .is_some_and(|info| info.ready);
            let begun = self.shared.now();
            if !is_here {
                let line = format!("Pulling container image {image}");
                runner_log::write(&self.shared.config, id, begun, vec![line]).await;
            }
            let pinned = store.ensure(&image, None).await.map_err(|error| {
                let fault = if error.kind().is_transient() {
                    Fault::Host
                } else {
                    Fault::Guest
                };
                (fault, report(&error))
            })?;
            if !is_here {
                let now = self.shared.now();
                let took = now.since(begun);
                let line = format!("Successfully prepared image {image} ({took:.1?})");
                runner_log::write(&self.shared.config, id, now, vec![line]).await;
            }
            pins.push(pinned);
        }
        Ok(pins)
    }

    /// Removes what the last guest left, and that guest itself should it still be there (a launch that was given up).
    async fn clean(&self) -> Result<(), DriverError> {
        let id = self.machine.identity.machine_id;
        let driver = &self.shared.deps.driver;
        if let Observed::Running(record) | Observed::Frozen(record) = driver.observe(id).await? {
            driver.kill(id).await?;
            self.gone(record.launch_id).await?;
        }
        driver.clean(id).await
    }

    async fn remove(&self) -> Result<(), DriverError> {
        let id = self.machine.identity.machine_id;
        self.shared.deps.driver.kill(id).await?;
        self.keep_log().await?;
        self.shared.deps.driver.remove(id).await
    }

    /// What a machine said last is read after its end: its log outlives its directory for a while.
    async fn keep_log(&self) -> Result<(), DriverError> {
        let id = self.machine.identity.machine_id;
        let from = self.shared.config.log_dir(id);
        let to = self.shared.config.kept_log_dir(id);
        let moved = tokio::fs::rename(&from, &to).await;
        match moved {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DriverError::Host {
                action: format!("keep the log of machine {id}"),
                source: error.into(),
            }),
            _ => Ok(()),
        }
    }

    async fn gone(&self, launch: LaunchId) -> Result<(), DriverError> {
        let id = self.machine.identity.machine_id;
        let ended = self.shared.deps.driver.exited(id, launch);
        match tokio::time::timeout(KILLED_BY, ended).await {
            Ok(Ok(_) | Err(DriverError::NotRunning(_))) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(DriverError::Host {
                action: format!("kill the guest of machine {id}"),
                source: "it is still there".into(),
            }),
        }
    }
}

/// Waits for the end of a guest; looks at it if nobody recorded the end.
pub(crate) async fn watch(driver: Arc<dyn Driver>, id: MachineId, launch_id: LaunchId) -> Event {
    let mut pause = Duration::from_millis(100);
    loop {
        if let Ok(record) = driver.exited(id, launch_id).await {
            return Event::Exited {
                launch_id,
                exit: exit(record),
            };
        }
        let looked = driver.observe(id).await.map(body);
        match looked {
            Ok(Body::Running(guest) | Body::Frozen(guest)) if guest.launch_id == launch_id => {}
            Ok(body) => return Event::Observed { body },
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn again(error: &DriverError) -> Outcome {
    Outcome::Again {
        error: Some(report(error)),
        after: None,
    }
}

fn failure(error: DriverError) -> (Fault, String) {
    let fault = match error {
        DriverError::Guest { .. } => Fault::Guest,
        DriverError::NotRunning(_) | DriverError::Host { .. } => Fault::Host,
    };
    (fault, report(&error))
}

pub(crate) fn body(observed: Observed) -> Body {
    match observed {
        Observed::Absent => Body::Absent,
        Observed::Running(record) => Body::Running(guest(&record)),
        Observed::Frozen(record) => Body::Frozen(guest(&record)),
        Observed::Exited(record) => Body::Exited {
            launch_id: record.launch_id,
            exit: exit(record),
        },
    }
}

fn guest(record: &GuestRecord) -> GuestRef {
    GuestRef {
        launch_id: record.launch_id,
        pid: record.init_pid,
        started_at: record.started_at,
    }
}

fn exit(record: ExitRecord) -> Exit {
    Exit {
        code: record.exit_code,
        signal: record.signal,
        oom_killed: record.oom_killed,
        failure: record.failure,
        at: record.exited_at,
    }
}
