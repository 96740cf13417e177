//! Machines of a release that run one program to its end.

use std::time::Duration;

use mayfly_control_store::Machine;
use mayfly_host_api::{LogQuery, StopMachine};
use mayfly_machine::{Actor, MachineState};

use super::error::StepError;
use super::machines::{crash, runs};
use crate::cloud::Cloud;

/// Lines of a failed program's output that its failure shows.
const LINES_SHOWN: usize = 10;

/// How a release's own program stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended well, or there is none.
    Done,
    Running,
    Failed(String),
}

/// How the program of `machine` stands; what takes longer than `timeout` is ended. `name` says what it is in failures.
pub(super) async fn outcome(
    cloud: &Cloud,
    machine: &Machine,
    name: &str,
    timeout: Duration,
) -> Result<Outcome, StepError> {
    let events = cloud
        .store
        .machine_events(machine.id, LINES_SHOWN as u32)
        .await?;
    match events.iter().find_map(crash) {
        Some(0) => return Ok(Outcome::Done),
        Some(code) => {
            let lines = last_lines(cloud, machine).await;
            return Ok(Outcome::Failed(format!(
                "{name} exited with code {code}{lines}"
            )));
        }
        None => {}
    }
    if matches!(
        machine.state,
        MachineState::Failed | MachineState::LaunchFailed
    ) {
        let why = machine.failure.clone().unwrap_or_default();
        return Ok(Outcome::Failed(format!("{name} could not run: {why}")));
    }
    let late = cloud.now().since(machine.created_at) >= timeout;
    if machine.destroyed_at.is_some() && !late {
        return Ok(Outcome::Failed(format!(
            "the machine of {name} was destroyed"
        )));
    }
    if !late {
        return Ok(Outcome::Running);
    }
    if runs(machine.state) {
        // By its own signal, and with its own patience.
        if machine.state != MachineState::Stopping {
            let request = StopMachine::by_rule(Actor::Platform);
            cloud.host_of(machine)?.stop(machine.id, request).await?;
        }
        return Ok(Outcome::Running);
    }
    let lines = last_lines(cloud, machine).await;
    if machine.destroyed_at.is_none() {
        cloud
            .destroy_machine(machine, true, &cloud.by_platform())
            .await?;
    }
    Ok(Outcome::Failed(format!(
        "{name} did not end within {} s{lines}",
        timeout.as_secs()
    )))
}

/// The end of a machine's output, as lines of their own; empty if there is none to be had.
async fn last_lines(cloud: &Cloud, machine: &Machine) -> String {
    let Ok(host) = cloud.host_of(machine) else {
        return String::new();
    };
    let query = LogQuery {
        machines: vec![(machine.id, 0)],
        tail: Some(4 * LINES_SHOWN),
        limit: 4 * LINES_SHOWN,
        patience: Duration::ZERO,
    };
    let Ok(page) = host.logs(query).await else {
        return String::new();
    };
    let own = page.entries.iter().filter(|entry| entry.source == "app");
    let lines: Vec<&str> = own.map(|entry| entry.message.trim_end()).collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("\n  {line}")).collect()
}
