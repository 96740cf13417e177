use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_control_store::{Machine, MachineEvent};
use mayfly_machine::MachineState;
use mayfly_types::InstanceId;
use serde_json::Value;
use tokio::time::Instant;

use super::ok;
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// Seconds.
const TIMEOUT_MAX: i64 = 60;

/// Events looked through for a state that came and went between two looks.
const EVENTS_SEEN: u32 = 20;

/// What is waited for.
struct Wanted {
    states: Vec<MachineState>,
    /// Any state that lasts.
    settled: bool,
    version: Option<InstanceId>,
}

/// `GET …/wait`: answers when the machine is in one of the wanted states.
///
/// 404 for a destroyed machine unless that is what was waited for, 408 when the time is over, 400 when the state
/// cannot come any more.
pub(crate) async fn wait(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    query.only(&[
        "state",
        "timeout",
        "instance_id",
        "version",
        "from_event_id",
    ])?;
    let wanted = Wanted::read(&query)?;
    let timeout = query
        .number("timeout", 1, TIMEOUT_MAX)?
        .unwrap_or(TIMEOUT_MAX);
    let deadline = Instant::now() + Duration::from_secs(timeout.unsigned_abs());
    let id = access.machine.id;
    let mut change = cloud.changes.of(id);
    // Read again: what changed since the request was admitted wakes nobody any more.
    let mut machine = cloud.store.machine(id).await?;
    let since = match query.text("from_event_id") {
        Some(event) => event.to_owned(),
        None => newest_event(&cloud, &machine).await?,
    };
    loop {
        if wanted.is_reached(&machine)? {
            return Ok(ok());
        }
        if wanted.was_passed(&cloud, &machine, &since).await? {
            return Ok(ok());
        }
        tokio::select! {
            changed = tokio::time::timeout_at(deadline, change.changed()) => {
                if changed.is_err() {
                    return Err(ApiError::new(
                        StatusCode::REQUEST_TIMEOUT,
                        format!(
                            "deadline_exceeded: machine {id} is {} after {timeout} s, not {}",
                            machine.state, wanted.words()
                        ),
                    ));
                }
            }
            () = cloud.stop.cancelled() => {
                return Err(ApiError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the API is being restarted; wait again",
                )
                .retry_after(1));
            }
        }
        machine = cloud.store.machine(id).await?;
    }
}

async fn newest_event(cloud: &Cloud, machine: &Machine) -> Result<String, ApiError> {
    let newest = cloud.store.machine_events(machine.id, 1).await?;
    let newest = newest.into_iter().next();
    Ok(newest.map_or_else(String::new, |event| event.id))
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let mut wanted = Wanted {
            states: Vec::new(),
            settled: false,
            version: query.parsed("instance_id")?.or(query.parsed("version")?),
        };
        let given = query.all("state").flat_map(|text| text.split(','));
        for word in given.filter(|word| !word.is_empty()) {
            match word {
                "settled" => wanted.settled = true,
                "created" | "started" | "stopped" | "suspended" | "destroyed" | "failed" => {
                    wanted.states.extend(word.parse::<MachineState>());
                }
                _ => {
                    return Err(ApiError::unreadable(format!(
                        "query parameter \"state\" must be one of started, stopped, suspended, destroyed, settled, \
                         created, failed, got \"{word}\""
                    )));
                }
            }
        }
        if wanted.states.is_empty() && !wanted.settled {
            wanted.states.push(MachineState::Started);
        }
        Ok(wanted)
    }

    fn words(&self) -> String {
        let settled = self.settled.then_some("settled");
        let states = self.states.iter().map(|state| state.as_str());
        states.chain(settled).collect::<Vec<_>>().join(" or ")
    }

    fn wants(&self, state: MachineState) -> bool {
        self.states.contains(&state) || (self.settled && state.is_settled())
    }

    /// # Errors
    /// The state will not come.
    fn is_reached(&self, machine: &Machine) -> Result<bool, ApiError> {
        if machine.destroyed_at.is_some() {
            return if self.wants(MachineState::Destroyed) {
                Ok(true)
            } else {
                Err(ApiError::not_found(format!(
                    "machine {} is destroyed",
                    machine.id
                )))
            };
        }
        if let Some(version) = self.version
            && version != machine.instance_id
        {
            return Err(ApiError::unreadable(format!(
                "machine {} is at version {}, not at {version}",
                machine.id, machine.instance_id
            )));
        }
        // Before its host has the wanted version, a machine is on its way to it.
        if self.wants(machine.state) && machine.is_delivered() {
            return Ok(true);
        }
        let lost = matches!(
            machine.state,
            MachineState::Failed | MachineState::LaunchFailed
        );
        if lost && machine.is_delivered() {
            let reason = machine.failure.as_deref().unwrap_or("no reason is known");
            return Err(ApiError::unreadable(format!(
                "machine failed to reach desired state: it is {}: {reason}",
                machine.state
            )));
        }
        Ok(false)
    }

    /// Whether the machine was started since the event `since`, though it is not any more: a short program ends
    /// before anybody looks.
    async fn was_passed(
        &self,
        cloud: &Cloud,
        machine: &Machine,
        since: &str,
    ) -> Result<bool, ApiError> {
        if !self.wants(MachineState::Started) || !machine.is_delivered() {
            return Ok(false);
        }
        let events = cloud.store.machine_events(machine.id, EVENTS_SEEN).await?;
        let newer = events.iter().take_while(|event| event.id != since);
        let newer: Vec<&MachineEvent> = newer.collect();
        let started = newer.iter().position(|event| event.kind == "start");
        // A start before the last launch belongs to an earlier version.
        let launched = newer.iter().position(|event| event.kind == "launch");
        Ok(match (started, launched) {
            (Some(started), Some(launched)) => started < launched,
            (started, None) => started.is_some(),
            (None, _) => false,
        })
    }
}
