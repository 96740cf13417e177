//! Probes of started machines, made from their own host over their private addresses.
//!
//! [`plan::Plan`] decides when a check is due and what a result means; one task makes the probes, however many checks
//! there are. Results live in memory only: after a start of the daemon every check is `warning` until it was probed
//! again, which happens at once. They show in the catalog, where edges and the control plane read them, and every
//! change of a status is reported through the machine's journal.
//!
//! Rules: <https://fly.io/docs/reference/health-checks/>. A probe is no traffic: it passes by the edge, so it keeps no
//! machine awake.

mod plan;
mod probe;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mayfly_host_api::{CheckReport, CheckTurn};
use mayfly_machine::{Event, Machine};
use mayfly_net::Prober;
use mayfly_runtime::{Clock, LoopStatus, Stop, report};
use mayfly_types::MachineId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::host::Shared;
use plan::{Change, Moment, Plan};

/// Probes under way at a time: a socket each. Enough that a few hundred machines which answer nobody delay no other.
const PROBES_MAX: usize = 512;

/// An answer that says something else at each probe, with the same status, is published no more often than this.
const OUTPUT_PERIOD: Duration = Duration::from_secs(5);

/// Changes of checks that wait for the journal. More than this means that it stands still.
const TURNS_WAITING_MAX: usize = 4096;

/// How the checks of this host stand, and when each is due.
pub(crate) struct Checks {
    plan: Mutex<Plan>,
    /// A check is due earlier than thought.
    sooner: Notify,
    clock: Arc<dyn Clock>,
    origin: Instant,
}

impl Checks {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Checks {
            plan: Mutex::default(),
            sooner: Notify::new(),
            clock,
            origin: Instant::now(),
        }
    }

    /// Takes in what a machine is now.
    pub(crate) fn see(&self, machine: &Machine) {
        let changed = self.plan().see(machine, self.now(), self.clock.now());
        if changed {
            self.sooner.notify_one();
        }
    }

    pub(crate) fn forget(&self, machine: MachineId) {
        self.plan().forget(machine);
    }

    /// How the checks of a machine stand: the same allocation as long as nothing changes, `None` if it has none.
    pub(crate) fn reports(&self, machine: MachineId) -> Option<Arc<[CheckReport]>> {
        self.plan().reports(machine)
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no holder of this lock panics")
    }
}

/// Probes until told to stop.
pub(crate) async fn run(
    shared: Arc<Shared>,
    turns: mpsc::Sender<(MachineId, CheckTurn)>,
    stop: Stop,
) {
    let checks = &shared.checks;
    let prober = Prober::new(probe::USER_AGENT);
    let prober = &prober;
    let status = shared.deps.board.loop_named("host.checks");
    let mut under_way = FuturesUnordered::new();
    let mut has_new_output = false;
    let mut probes = 0;
    let mut period = tokio::time::interval(OUTPUT_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = {
            let mut plan = checks.plan();
            let now = checks.now();
            while under_way.len() < PROBES_MAX
                && let Some(ticket) = plan.take(now)
            {
                under_way.push(async move {
                    let seen = probe::probe(prober, &ticket).await;
                    (ticket, seen)
                });
            }
            plan.next_due().filter(|_| under_way.len() < PROBES_MAX)
        };
        let next = async {
            match next {
                Some(at) => tokio::time::sleep_until(checks.origin + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = checks.sooner.notified() => {}
            () = next => {}
            _ = period.tick() => {
                if std::mem::take(&mut has_new_output) {
                    shared.registry.catalog_is_old();
                }
                status.publish(LoopStatus {
                    ran_at: Some(shared.now()),
                    took: Duration::ZERO,
                    applied: std::mem::take(&mut probes),
                    waiting: under_way.len() as u64,
                    last_error: None,
                });
            }
            Some((ticket, seen)) = under_way.next() => {
                probes += 1;
                let wall = shared.now();
                let change = checks.plan().finish(&ticket, seen, checks.now(), wall);
                match change {
                    Change::Nothing => {}
                    Change::Output => has_new_output = true,
                    Change::Status(turn) => {
                        shared.registry.catalog_is_old();
                        if turns.try_send((ticket.machine, turn)).is_err() {
                            warn!(machine_id = %ticket.machine, "change of a check not reported: too many wait");
                        }
                    }
                }
            }
        }
    }
}

/// A change of one machine's check.
pub(crate) type MachineTurn = (MachineId, CheckTurn);

/// Where [`run`] leaves changes for [`report_turns`].
pub(crate) fn turns() -> (mpsc::Sender<MachineTurn>, mpsc::Receiver<MachineTurn>) {
    mpsc::channel(TURNS_WAITING_MAX)
}

/// Writes changes into the journals of their machines, in the order they happened.
pub(crate) async fn report_turns(
    shared: Arc<Shared>,
    mut turns: mpsc::Receiver<MachineTurn>,
    stop: Stop,
) {
    let reporting = async {
        while let Some((machine, turn)) = turns.recv().await {
            debug!(machine_id = %machine, check = turn.name, status = turn.to.as_str(), "check changed");
            let event = Event::CheckTurned(turn);
            if let Err(error) = shared.request(machine, event).await {
                warn!(machine_id = %machine, error = report(&error), "change of a check not reported");
            }
        }
    };
    stop.run_until_cancelled(reporting).await;
}
