//! Standbys: machines that stay stopped until the machine they stand in for, or its host, fails.
//!
//! Rules: <https://fly.io/docs/reference/app-availability/>. A standby is started by us only, and stopped again by us
//! only if it was us who started it.
//!
//! A host that is only cut off from us still runs its machines, so for a while primary and standby may both run. Once the
//! host is heard again and says that the primary is started, the standby is stopped: the primary wins, since it has the
//! longer history and perhaps the volumes. A host that comes back without the primary leaves the standby running.

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{ControlStore, Machine, MachineEvent};
use mayfly_host_api::{Actor, HostError, StopMachine};
use mayfly_machine::MachineState;
use mayfly_runtime::{Clock, LoopHandle, LoopStatus, Stop};
use mayfly_types::{ErrorKind, MachineId, Timestamp};

use crate::hosts::Hosts;
use crate::turn::TurnError;

/// Reports wake the loop; a host's silence does not.
const EVERY: Duration = Duration::from_secs(5);
/// Enough to find a machine's last start and last exit.
const HISTORY: u32 = 10;

/// What the rule needs to know of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    state: MachineState,
    /// Its last end, if that was neither asked for nor a success.
    failed_at: Option<Timestamp>,
    /// Whether its last start was ours.
    started_by_us: bool,
    host_answers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Start,
    Stop,
    Leave,
}

impl Facts {
    /// Down, and not because somebody wanted it.
    fn is_failed(&self) -> bool {
        let given_up = matches!(self.state, MachineState::Stopped) && self.failed_at.is_some();
        !self.host_answers
            || given_up
            || matches!(
                self.state,
                MachineState::Failed | MachineState::LaunchFailed
            )
    }
}

/// What to do with a standby, given the machines it stands in for.
fn decide(standby: Facts, primaries: &[Facts]) -> Verdict {
    let needed = primaries.iter().any(Facts::is_failed);
    // One that gave up itself is not started over and over.
    let gave_up = standby.failed_at.is_some();
    match standby.state {
        MachineState::Created | MachineState::Stopped if needed && !gave_up => Verdict::Start,
        MachineState::Started if !needed && standby.started_by_us => {
            let all_back = primaries
                .iter()
                .all(|primary| primary.state == MachineState::Started);
            if all_back && !primaries.is_empty() {
                Verdict::Stop
            } else {
                Verdict::Leave
            }
        }
        _ => Verdict::Leave,
    }
}

pub(crate) struct Standbys {
    pub(crate) store: ControlStore,
    pub(crate) hosts: Hosts,
    pub(crate) clock: Arc<dyn Clock>,
    /// A host that was silent for so long counts as failed.
    pub(crate) host_patience: Duration,
    pub(crate) status: LoopHandle,
}

impl Standbys {
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.store.watch();
        let watching_since = self.clock.now();
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.clock.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            match self.turn(watching_since).await {
                Ok((applied, waiting)) => (status.applied, status.waiting) = (applied, waiting),
                Err(error) => {
                    status.waiting = 1;
                    status.last_error = Some(mayfly_runtime::report(&error));
                }
            }
            status.took = self.clock.now().since(began);
            let failed = status.last_error.is_some() || status.waiting > 0;
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = news.changed(), if !failed => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn turn(&self, watching_since: Timestamp) -> Result<(u64, u64), TurnError> {
        let (mut applied, mut waiting) = (0, 0);
        for standby in self.store.standbys().await? {
            let facts = self.facts(&standby, watching_since).await?;
            let mut primaries = Vec::new();
            for id in &standby.spec.standbys {
                // A primary that was destroyed on purpose needs nobody to stand in for it.
                if let Some(primary) = self.primary(*id).await? {
                    primaries.push(self.facts(&primary, watching_since).await?);
                }
            }
            let verdict = decide(facts, &primaries);
            if verdict == Verdict::Leave {
                continue;
            }
            match self.act(&standby, verdict).await {
                Ok(()) => applied += 1,
                // Its host may be the one that failed; the others are not to wait for it.
                Err(error) => {
                    let error = mayfly_runtime::report(&error);
                    tracing::warn!(machine_id = %standby.id, error, "standby not reached");
                    waiting += 1;
                }
            }
        }
        Ok((applied, waiting))
    }

    async fn act(&self, standby: &Machine, verdict: Verdict) -> Result<(), HostError> {
        let host = self.hosts.of(standby)?;
        if verdict == Verdict::Start {
            tracing::info!(machine_id = %standby.id, "starting a standby");
            host.start(standby.id, Actor::Platform).await?;
        } else {
            tracing::info!(machine_id = %standby.id, "stopping a standby whose primary is back");
            let request = StopMachine::by_rule(Actor::Platform);
            host.stop(standby.id, request).await?;
        }
        Ok(())
    }

    async fn primary(&self, id: MachineId) -> Result<Option<Machine>, TurnError> {
        match self.store.machine(id).await {
            Ok(machine) if machine.destroyed_at.is_none() => Ok(Some(machine)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// While we were away we heard no host: its silence counts from when we began to listen.
    async fn facts(
        &self,
        machine: &Machine,
        watching_since: Timestamp,
    ) -> Result<Facts, TurnError> {
        let host = self.store.host(machine.host_id).await?;
        let events = self.store.machine_events(machine.id, HISTORY).await?;
        Ok(Facts {
            state: machine.state,
            failed_at: last_failure(&events),
            started_by_us: last(&events, "start").is_some_and(|start| start.source == "flyd"),
            host_answers: self.clock.now().since(host.seen_at.max(watching_since))
                < self.host_patience,
        })
    }
}

fn last<'a>(events: &'a [MachineEvent], kind: &str) -> Option<&'a MachineEvent> {
    events.iter().find(|event| event.kind == kind)
}

/// When the machine last ended, if nobody had asked for it and it was no success.
pub(crate) fn last_failure(newest_first: &[MachineEvent]) -> Option<Timestamp> {
    let exit = last(newest_first, "exit")?;
    let facts = &exit.request.as_ref()?["exit_event"];
    let asked = facts["requested_stop"] == true;
    let success = facts["exit_code"] == 0 && facts["oom_killed"] != true;
    (!asked && !success).then_some(exit.at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(state: MachineState) -> Facts {
        Facts {
            state,
            failed_at: None,
            started_by_us: false,
            host_answers: true,
        }
    }

    fn crashed() -> Facts {
        Facts {
            failed_at: Some(Timestamp::from_millis(1)),
            ..facts(MachineState::Stopped)
        }
    }

    #[test]
    fn standbys_follow_their_primaries() {
        use MachineState::{Failed, Restarting, Started, Stopped, Suspended};
        let asleep = facts(Stopped);
        let ours = Facts {
            started_by_us: true,
            ..facts(Started)
        };
        let silent = Facts {
            host_answers: false,
            ..facts(Started)
        };
        for (standby, primaries, verdict) in [
            (asleep, vec![facts(Started)], Verdict::Leave),
            (asleep, vec![facts(Stopped)], Verdict::Leave),
            (asleep, vec![facts(Suspended)], Verdict::Leave),
            (asleep, vec![facts(Restarting)], Verdict::Leave),
            (asleep, vec![], Verdict::Leave),
            (asleep, vec![facts(Failed)], Verdict::Start),
            (asleep, vec![crashed()], Verdict::Start),
            (asleep, vec![silent], Verdict::Start),
            (asleep, vec![facts(Started), crashed()], Verdict::Start),
            (
                facts(MachineState::Created),
                vec![crashed()],
                Verdict::Start,
            ),
            (crashed(), vec![crashed()], Verdict::Leave),
            (ours, vec![crashed()], Verdict::Leave),
            (ours, vec![facts(Restarting)], Verdict::Leave),
            (ours, vec![facts(Started)], Verdict::Stop),
            (ours, vec![facts(Started), facts(Stopped)], Verdict::Leave),
            (ours, vec![], Verdict::Leave),
            (facts(Started), vec![facts(Started)], Verdict::Leave),
        ] {
            assert_eq!(
                decide(standby, &primaries),
                verdict,
                "{standby:?} for {primaries:?}"
            );
        }
    }

    #[test]
    fn only_unasked_ends_are_failures() {
        let exit = |requested: bool, code: i32, oom: bool| MachineEvent {
            id: String::new(),
            machine_id: "e784079f004d86".parse().expect("an id"),
            kind: "exit".to_owned(),
            status: "stopped".to_owned(),
            source: "flyd".to_owned(),
            at: Timestamp::from_millis(7),
            request: Some(json!({
                "exit_event": { "requested_stop": requested, "exit_code": code, "oom_killed": oom }
            })),
        };
        for (event, failed) in [
            (exit(false, 1, false), true),
            (exit(false, 0, true), true),
            (exit(false, 0, false), false),
            (exit(true, 1, false), false),
        ] {
            assert_eq!(
                last_failure(std::slice::from_ref(&event)).is_some(),
                failed,
                "{event:?}"
            );
        }
        assert_eq!(last_failure(&[]), None);
    }
}
