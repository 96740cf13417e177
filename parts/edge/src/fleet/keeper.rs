use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{Entropy, Stop, TaskSet};
use mayfly_types::AppName;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::assemble::Assembler;
use super::backend::Backend;
use super::rest;
use super::waker::{WakeFailure, Waker};
use super::{Fleet, FleetConfig, FleetSources};

/// A host answers as soon as it has written the request down.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a machine may take from the request to start until it is started, with an image that is on its host.
const START_PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// After a table, changes gather for this many times what it took to make, and at most for [`GATHER_MAX`].
const GATHER: u32 = 4;
const GATHER_MAX: Duration = Duration::from_millis(10);
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps a fleet current: makes its tables, wakes machines, lets them rest.
pub struct Keeper {
    fleet: Arc<Fleet>,
    sources: FleetSources,
    assembler: Assembler,
    waker: Arc<dyn Waker>,
    wakes: mpsc::UnboundedReceiver<Arc<Backend>>,
    autostop_period: Duration,
}

impl Keeper {
    pub(super) fn new(
        fleet: Arc<Fleet>,
        config: FleetConfig,
        sources: FleetSources,
        waker: Arc<dyn Waker>,
        entropy: &dyn Entropy,
    ) -> Keeper {
        let (sender, wakes) = mpsc::unbounded_channel();
        let seed = u32::from_le_bytes(entropy.bytes());
        let assembler = Assembler::new(config.region, sources.catalogs.len(), seed, sender);
        let mut keeper = Keeper {
            fleet,
            sources,
            assembler,
            waker,
            wakes,
            autostop_period: config.autostop_period,
        };
        refresh(&keeper.fleet, &mut keeper.assembler, &mut keeper.sources);
        keeper
    }

    /// Runs until `stop`; starts that are under way go on in their hosts.
    pub async fn run(self, stop: Stop) {
        let Keeper {
            fleet,
            mut sources,
            mut assembler,
            waker,
            mut wakes,
            autostop_period,
        } = self;
        let tasks = TaskSet::under(&stop);
        let changed = Arc::new(Notify::new());
        // What came between the first table and now.
        changed.notify_one();
        for catalog in &sources.catalogs {
            let (catalog, changed) = (catalog.clone(), Arc::clone(&changed));
            tasks
                .spawn("edge.fleet.catalog", |stop| follow(catalog, changed, stop))
                .await;
        }
        let (others, noted) = (sources.others.clone(), Arc::clone(&changed));
        tasks
            .spawn("edge.fleet.others", |stop| follow(others, noted, stop))
            .await;
        let directory = sources.directory.clone();
        tasks
            .spawn("edge.fleet.directory", {
                let changed = Arc::clone(&changed);
                |stop| follow(directory, changed, stop)
            })
            .await;
        tasks
            .spawn("edge.fleet.table", {
                let fleet = Arc::clone(&fleet);
                move |stop| async move {
                    loop {
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = changed.notified() => {}
                        }
                        let began = Instant::now();
                        refresh(&fleet, &mut assembler, &mut sources);
                        sleep((began.elapsed() * GATHER).min(GATHER_MAX)).await;
                    }
                }
            })
            .await;
        tasks
            .spawn("edge.fleet.rest", {
                let (fleet, waker) = (Arc::clone(&fleet), Arc::clone(&waker));
                move |stop| rest::run(fleet, waker, autostop_period, stop)
            })
            .await;
        let starts = TaskSet::under(&stop);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                backend = wakes.recv() => {
                    let Some(backend) = backend else { break };
                    let (fleet, waker) = (Arc::clone(&fleet), Arc::clone(&waker));
                    starts.spawn("edge.fleet.start", |stop| async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = start(&fleet, &*waker, &backend) => {}
                        }
                    }).await;
                }
            }
        }
        stop.cancelled().await;
        starts.shut_down(END_PATIENCE).await;
        tasks.shut_down(END_PATIENCE).await;
    }
}

async fn follow<T>(mut receiver: watch::Receiver<T>, changed: Arc<Notify>, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            result = receiver.changed() => match result {
                Ok(()) => changed.notify_one(),
                // Its sender is gone: the last value stays.
                Err(_) => return,
            },
        }
    }
}

fn refresh(fleet: &Fleet, assembler: &mut Assembler, sources: &mut FleetSources) {
    let catalogs = sources
        .catalogs
        .iter_mut()
        .map(|catalog| Arc::clone(&catalog.borrow_and_update()))
        .collect();
    let others = sources.others.borrow_and_update().clone();
    let directory = Arc::clone(&sources.directory.borrow_and_update());
    if let Some((table, changed)) = assembler.next(&fleet.table(), catalogs, others, directory) {
        let before = fleet.publish(Arc::new(table));
        for app in &changed {
            pump(fleet, app);
        }
        drop(before);
    }
    assembler.forget_past();
}

/// Gives what waits for the app another chance.
pub(super) fn pump(fleet: &Fleet, app: &AppName) {
    let table = fleet.table();
    for service in table
        .by_name(app.as_str())
        .iter()
        .flat_map(|app| &app.services)
    {
        if !service.gate.is_idle() {
            service.gate.pump();
        }
    }
}

/// Asks the host to start a machine and sees whether it does.
async fn start(fleet: &Fleet, waker: &dyn Waker, backend: &Backend) {
    let began = Instant::now();
    let asked = timeout(CALL_PATIENCE, waker.start(backend.host, backend.machine)).await;
    let failure = match asked {
        Ok(Ok(())) => {
            backend.start_accepted();
            while backend.is_being_woken() && began.elapsed() < START_PATIENCE {
                sleep(LOOK_AGAIN).await;
            }
            if !backend.is_being_woken() {
                info!(app = %backend.app, machine_id = %backend.machine, state = %backend.state(), "woken for a request");
                return;
            }
            WakeFailure::timed_out()
        }
        Ok(Err(error)) => WakeFailure::refused(&error),
        Err(_) => WakeFailure::timed_out(),
    };
    warn!(app = %backend.app, machine_id = %backend.machine, code = failure.code, error = failure.message, "machine not woken");
    backend.start_failed(failure);
    pump(fleet, &backend.app);
    debug!(app = %backend.app, took_ms = began.elapsed().as_millis(), "requests look for another machine");
}
