use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_host_api::{CheckReport, CheckStatus, CheckTurn};
use mayfly_machine::{CheckSpec, Machine, Phase, named_checks};
use mayfly_types::{InstanceId, LaunchId, MachineId, Timestamp};

/// Monotonic time since the plan was made.
pub(super) type Moment = Duration;

/// A program that is not listening yet right after its start is no failure for at least this long, also if its check
/// names no grace period.
const GRACE_LEAST: Duration = Duration::from_secs(1);

/// The first pause between tries of a port nobody listens on yet; later ones grow with the time waited.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// When each check is due, and what its results mean. Values in, values out.
///
/// ```text
///            guest started            due, a slot is free
///   Idle ──────────────────► Due(at) ────────────────────► Probing
///    ▲  ▲                     │   ▲                          │ │
///    │  └── guest not started ┘   └───── result, interval ───┘ │
///    └────────────── guest not started, result ignored ────────┘
/// ```
///
/// Walked by the property test in `tests.rs`.
#[derive(Debug, Default)]
pub(super) struct Plan {
    machines: HashMap<MachineId, Watched>,
    due: BinaryHeap<Reverse<Due>>,
    epochs: u64,
}

/// A machine with checks.
#[derive(Debug)]
struct Watched {
    instance_id: InstanceId,
    /// The guest whose results these are; it may be frozen.
    launch_id: Option<LaunchId>,
    is_running: bool,
    /// When the guest was started.
    started: Moment,
    addresses: [IpAddr; 2],
    checks: Vec<Check>,
    reports: Option<Arc<[CheckReport]>>,
}

#[derive(Debug)]
struct Check {
    name: Arc<str>,
    service_port: Option<u16>,
    spec: Arc<CheckSpec>,
    status: CheckStatus,
    output: String,
    updated_at: Timestamp,
    /// The program took a connection since it was started.
    was_reached: bool,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Idle,
    Due(u64),
    Probing { epoch: u64, begun: Moment },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Moment,
    epoch: u64,
    machine: MachineId,
    index: usize,
}

/// A probe to be made now.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) machine: MachineId,
    index: usize,
    epoch: u64,
    pub(super) spec: Arc<CheckSpec>,
    pub(super) addresses: [IpAddr; 2],
    /// Whether the check is of a service.
    pub(super) of_service: bool,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) passed: bool,
    /// False if nobody listens: nothing was asked then.
    pub(super) reached: bool,
    pub(super) output: String,
}

/// What a result changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Output,
    Status(CheckTurn),
}

const NOT_STARTED: &str = "the machine has not started";
const NO_RESULT: &str = "waiting for the first result";

impl Plan {
    /// Takes in what a machine is now. True if a check became due or another thing is to be shown.
    pub(super) fn see(&mut self, machine: &Machine, now: Moment, wall: Timestamp) -> bool {
        let id = machine.identity.machine_id;
        let is_gone = matches!(
            machine.phase,
            Phase::Destroying { .. } | Phase::Destroyed { .. }
        );
        let known = self.machines.get(&id);
        if !is_gone && known.is_none_or(|known| known.instance_id != machine.version.instance_id) {
            let watched = Watched::new(machine, wall);
            if watched.checks.is_empty() {
                return self.forget(id);
            }
            self.machines.insert(id, watched);
        } else if is_gone {
            return self.forget(id);
        }
        let Some(watched) = self.machines.get_mut(&id) else {
            return false;
        };
        let guest = machine.phase.guest();
        let is_running = matches!(machine.phase, Phase::Started { .. });
        let launch_id = guest.map(|guest| guest.launch_id);
        if (watched.is_running, watched.launch_id) == (is_running, launch_id) {
            return watched.reports.is_none();
        }
        if watched.launch_id != launch_id {
            let output = if launch_id.is_some() {
                NO_RESULT
            } else {
                NOT_STARTED
            };
            watched.reset(output, wall);
        }
        watched.launch_id = launch_id;
        watched.is_running = is_running;
        if let Some(guest) = guest {
            // Wall time may have been set back meanwhile.
            watched.started = now.saturating_sub(wall.since(guest.started_at));
        }
        for (index, check) in watched.checks.iter_mut().enumerate() {
            self.epochs += 1;
            check.turn = if is_running {
                let at = now.max(watched.started + check.spec.grace_period);
                self.due.push(Reverse(Due {
                    at,
                    epoch: self.epochs,
                    machine: id,
                    index,
                }));
                Turn::Due(self.epochs)
            } else {
                Turn::Idle
            };
        }
        true
    }

    /// The machine is gone. True if it had checks.
    pub(super) fn forget(&mut self, machine: MachineId) -> bool {
        self.machines.remove(&machine).is_some()
    }

    /// When the next probe is to be made, if nothing changes.
    pub(super) fn next_due(&mut self) -> Option<Moment> {
        loop {
            let Reverse(first) = self.due.peek()?;
            if self.is_due(first) {
                return Some(first.at);
            }
            self.due.pop();
        }
    }

    /// A probe that is due; it is under way from now on.
    pub(super) fn take(&mut self, now: Moment) -> Option<Ticket> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        let watched = self.machines.get_mut(&due.machine)?;
        let check = watched.checks.get_mut(due.index)?;
        check.turn = Turn::Probing {
            epoch: due.epoch,
            begun: now,
        };
        Some(Ticket {
            machine: due.machine,
            index: due.index,
            epoch: due.epoch,
            spec: check.spec.clone(),
            addresses: watched.addresses,
            of_service: check.service_port.is_some(),
        })
    }

    /// Takes in what a probe saw, and plans the next. A result of a guest that is gone means nothing.
    pub(super) fn finish(
        &mut self,
        ticket: &Ticket,
        seen: Seen,
        now: Moment,
        wall: Timestamp,
    ) -> Change {
        let Some(watched) = self.machines.get_mut(&ticket.machine) else {
            return Change::Nothing;
        };
        let started = watched.started;
        let Some(check) = watched.checks.get_mut(ticket.index) else {
            return Change::Nothing;
        };
        let begun = match check.turn {
            Turn::Probing { epoch, begun } if epoch == ticket.epoch => begun,
            _ => return Change::Nothing,
        };
        check.was_reached |= seen.reached;
        let next = begun + check.spec.interval;
        let (status, next) = if seen.passed {
            (CheckStatus::Passing, next)
        } else if check.was_reached {
            (CheckStatus::Critical, next)
        } else {
            let waited = now.saturating_sub(started);
            let early = waited < check.spec.grace_period.max(GRACE_LEAST);
            let status = match early {
                true => CheckStatus::Warning,
                false => CheckStatus::Critical,
            };
            // A program that does not listen notices no probe: asking sooner finds it ready sooner.
            (status, next.min(now + (waited / 2).max(RETRY_FIRST)))
        };
        self.epochs += 1;
        check.turn = Turn::Due(self.epochs);
        self.due.push(Reverse(Due {
            at: next.max(now),
            epoch: self.epochs,
            machine: ticket.machine,
            index: ticket.index,
        }));
        let change = check.take_in(status, seen.output, wall);
        if change != Change::Nothing {
            watched.reports = None;
        }
        change
    }

    /// How the checks of a machine stand; the same allocation as long as nothing changes.
    pub(super) fn reports(&mut self, machine: MachineId) -> Option<Arc<[CheckReport]>> {
        let watched = self.machines.get_mut(&machine)?;
        let checks = &watched.checks;
        let reports = watched
            .reports
            .get_or_insert_with(|| checks.iter().map(Check::report).collect());
        Some(reports.clone())
    }

    fn is_due(&self, due: &Due) -> bool {
        self.machines
            .get(&due.machine)
            .and_then(|watched| watched.checks.get(due.index))
            .is_some_and(|check| check.turn == Turn::Due(due.epoch))
    }
}

impl Watched {
    fn new(machine: &Machine, wall: Timestamp) -> Watched {
        let identity = &machine.identity;
        let checks = named_checks(&machine.version.spec).map(|named| Check {
            name: named.name.into(),
            service_port: named.service_port,
            spec: Arc::new(named.spec.clone()),
            status: CheckStatus::Warning,
            output: NOT_STARTED.to_owned(),
            updated_at: wall,
            was_reached: false,
            turn: Turn::Idle,
        });
        Watched {
            instance_id: machine.version.instance_id,
            launch_id: None,
            is_running: false,
            started: Moment::ZERO,
            addresses: [identity.ipv4.into(), identity.private_ip.into()],
            checks: checks.collect(),
            reports: None,
        }
    }

    fn reset(&mut self, output: &str, wall: Timestamp) {
        self.reports = None;
        for check in &mut self.checks {
            check.was_reached = false;
            if check.status != CheckStatus::Warning {
                check.status = CheckStatus::Warning;
                check.updated_at = wall;
            }
            output.clone_into(&mut check.output);
        }
    }
}

impl Check {
    fn take_in(&mut self, status: CheckStatus, output: String, wall: Timestamp) -> Change {
        if status == self.status {
            if output == self.output {
                return Change::Nothing;
            }
            self.output = output;
            return Change::Output;
        }
        let from = std::mem::replace(&mut self.status, status);
        self.updated_at = wall;
        self.output.clone_from(&output);
        Change::Status(CheckTurn {
            name: self.name.to_string(),
            from,
            to: status,
            output,
        })
    }

    fn report(&self) -> CheckReport {
        CheckReport {
            name: self.name.to_string(),
            service_port: self.service_port,
            status: self.status,
            output: self.output.clone(),
            updated_at: self.updated_at,
        }
    }
}

#[cfg(test)]
mod tests;
