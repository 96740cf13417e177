//! Which machines can leave their host, and when a replacement has taken over. Pure.

use std::time::Duration;

use mayfly_control_store::{Host, Machine, MachineEvent};
use mayfly_machine::{MachineState, Persist, Rights};
use mayfly_types::Timestamp;
use mayfly_wire::CheckStatus;
use serde_json::Value;

use crate::standby::last_failure;

/// How long a replacement may take to be up.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long one without checks must have run to count as up.
const STEADY: Duration = Duration::from_secs(3);

/// What is known when a machine is judged.
pub(super) struct Facts<'a> {
    pub(super) machine: &'a Machine,
    /// Every host of the fleet.
    pub(super) hosts: &'a [Host],
    /// Whether a release of its app is under way.
    pub(super) releasing: bool,
    pub(super) now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Move,
    /// Not now, for this reason, which passes.
    Wait(String),
    /// Not at all, for this reason, unless somebody does something.
    Stay(String),
}

/// Whether a machine can be replaced by one like it elsewhere.
pub(super) fn judge(facts: &Facts<'_>) -> Verdict {
    let machine = facts.machine;
    if let Some(reason) = local_state(machine) {
        return Verdict::Stay(reason.to_owned());
    }
    let elsewhere = facts
        .hosts
        .iter()
        .filter(|host| host.id != machine.host_id && host.region == machine.region);
    let open: Vec<&Host> = elsewhere
        .filter(|host| host.cordoned_at.is_none())
        .collect();
    if open.is_empty() {
        return Verdict::Stay(format!(
            "no other host of region {} takes machines",
            machine.region
        ));
    }
    if open.iter().all(|host| !host.reach.reachable) {
        return Verdict::Wait(format!(
            "no other host of region {} is reachable",
            machine.region
        ));
    }
    let own = facts.hosts.iter().find(|host| host.id == machine.host_id);
    if own.is_some_and(|host| !host.reach.reachable) {
        return Verdict::Wait("its host is not reachable".to_owned());
    }
    if facts.releasing {
        return Verdict::Wait("a release of its app is under way".to_owned());
    }
    if let Some(lease) = machine.lease_at(facts.now) {
        return Verdict::Wait(format!("{} holds its lease", lease.owner));
    }
    let runs = launches(machine.state);
    if machine.spec.auto_destroy && runs {
        return Verdict::Wait("it is destroyed when it ends by itself".to_owned());
    }
    if !machine.spec.standbys.is_empty() && runs {
        return Verdict::Wait("it stands in for another machine".to_owned());
    }
    match machine.state {
        MachineState::Created
        | MachineState::Started
        | MachineState::Restarting
        | MachineState::Stopped
        | MachineState::Suspended
        | MachineState::Failed
        | MachineState::LaunchFailed => Verdict::Move,
        state => Verdict::Wait(format!("it is {state}")),
    }
}

/// What a machine has on its host that a replacement would not have.
fn local_state(machine: &Machine) -> Option<&'static str> {
    let config: Value = serde_json::from_str(machine.config.get()).unwrap_or_default();
    let has_mounts = config["mounts"]
        .as_array()
        .is_some_and(|mounts| !mounts.is_empty());
    if has_mounts {
        return Some("it has a volume there");
    }
    if machine.spec.rights == Rights::Builder {
        return Some("it is a builder: destroy it, and the next build makes one elsewhere");
    }
    if machine.spec.rootfs.persist == Persist::Always {
        return Some("its root filesystem is kept there (rootfs.persist is always)");
    }
    None
}

/// Whether the replacement of a machine in this state is started.
pub(super) fn launches(state: MachineState) -> bool {
    matches!(state, MachineState::Started | MachineState::Restarting)
}

/// How a replacement is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Waiting,
    Up,
    Failed(String),
}

/// Whether a replacement has taken over. `events` are its newest, `began_at` is when its making began.
pub(super) fn readiness(
    replacement: &Machine,
    launches: bool,
    events: &[MachineEvent],
    checks: &[CheckStatus],
    began_at: Timestamp,
    now: Timestamp,
) -> Readiness {
    let id = replacement.id;
    if replacement.destroyed_at.is_some() {
        return Readiness::Failed(format!("its replacement {id} was destroyed"));
    }
    let failing = checks.iter().find(|check| check.status != "passing");
    let is_up = replacement.is_delivered()
        && match replacement.state {
            MachineState::Failed | MachineState::LaunchFailed => {
                let why = replacement.failure.as_deref().unwrap_or("it failed");
                return Readiness::Failed(format!("its replacement {id} did not start: {why}"));
            }
            MachineState::Started if checks.is_empty() => {
                now.since(replacement.state_since) >= STEADY
            }
            MachineState::Started => failing.is_none(),
            MachineState::Stopped if launches && last_failure(events).is_some() => {
                return Readiness::Failed(format!("its replacement {id} ended with an error"));
            }
            // It had nothing to do, or was not to be started.
            MachineState::Stopped | MachineState::Suspended => true,
            _ => false,
        };
    if is_up {
        return Readiness::Up;
    }
    if now.since(began_at) < PATIENCE {
        return Readiness::Waiting;
    }
    let why = match failing {
        Some(check) if replacement.state == MachineState::Started => {
            format!("check {} is {}: {}", check.name, check.status, check.output)
        }
        _ => format!("it is {}", replacement.state),
    };
    Readiness::Failed(format!(
        "its replacement {id} was not up after {} minutes: {why}",
        PATIENCE.as_secs() / 60
    ))
}

#[cfg(test)]
mod tests;
