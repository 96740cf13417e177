use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_host_api::{HostError, ProcessInfo};
use mayfly_machine::Schedule;
use mayfly_wire::{MachineEvent, Version};
use serde_json::{Value, json};

use super::view::event_view;
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

const EVENTS: i64 = 20;
const EVENTS_MAX: i64 = 1000;
const RUNS: usize = 50;

/// `GET …/events?limit=`: the machine's history, newest first.
pub(crate) async fn events(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    query: Query,
) -> Result<Json<Vec<MachineEvent>>, ApiError> {
    let limit = query.number("limit", 1, EVENTS_MAX)?.unwrap_or(EVENTS);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let events = cloud.store.machine_events(access.machine.id, limit).await?;
    Ok(Json(events.into_iter().map(event_view).collect()))
}

/// `GET …/versions`: every configuration the machine had, newest first.
pub(crate) async fn versions(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Vec<Version>>, ApiError> {
    let versions = cloud.store.machine_versions(access.machine.id).await?;
    let shown = versions.into_iter().map(|version| Version {
        version: version.instance_id.to_string(),
        user_config: version.config,
    });
    Ok(Json(shown.collect()))
}

/// `GET …/ps`.
pub(crate) async fn processes(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Vec<ProcessInfo>>, ApiError> {
    let host = cloud.host_of(&access.machine)?;
    Ok(Json(host.ps(access.machine.id).await?))
}

/// `GET …/schedule`: when a scheduled machine runs next, and how its runs went.
pub(crate) async fn schedule(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    let machine = access.machine;
    let schedule = machine.spec.schedule.as_deref();
    // Checked when it was stored.
    let parsed: Option<Schedule> = schedule.and_then(|text| text.parse().ok());
    let next = parsed
        .filter(|_| machine.destroyed_at.is_none())
        .and_then(|schedule| schedule.next_after(cloud.now(), machine.created_at));
    let runs = match cloud
        .host_of(&machine)?
        .schedule_runs(machine.id, RUNS)
        .await
    {
        Err(HostError::UnknownMachine(_)) => Vec::new(),
        runs => runs?,
    };
    Ok(Json(
        json!({ "schedule": schedule, "next_at": next, "runs": runs }),
    ))
}
