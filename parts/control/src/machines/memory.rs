use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_control_store::Machine;
use mayfly_host_api::{HostError, MemoryReport, MemoryRequest, Refusal};
use mayfly_wire::{ReclaimMemory, SetMemory};
use serde_json::{Value, json};

use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// Below this not even the first process would run, in MiB.
const LIMIT_MIN: u32 = 16;

/// `GET …/memory`: how much the machine may use, and how much of it is free.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    let machine = &access.machine;
    let host = cloud.host_of(machine)?;
    match host.memory(machine.id, MemoryRequest::Read).await {
        Err(HostError::Refused(Refusal::NotIn { .. }) | HostError::UnknownMachine(_)) => {
            let whole = machine.spec.size.memory_mib;
            Ok(Json(json!({ "limit_mb": whole, "available_mb": whole })))
        }
        answer => Ok(Json(view(answer?))),
    }
}

/// `PUT …/memory`: lowers a running machine's limit, or raises it again up to what its configuration allows. The next
/// start begins with the configured memory.
pub(crate) async fn limit(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<SetMemory>,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    let machine = &access.machine;
    let mib = within("limit_mb", request.limit_mb, LIMIT_MIN, most(machine))?;
    let host = cloud.host_of(machine)?;
    let before = host.memory(machine.id, MemoryRequest::Read).await?;
    let after = host
        .memory(machine.id, MemoryRequest::Limit { mib })
        .await?;
    if before.limit_mib != after.limit_mib {
        let by = access.caller.by(&cloud);
        cloud
            .store
            .note_memory_limit(machine.id, before.limit_mib, after.limit_mib, by)
            .await?;
    }
    Ok(Json(view(after)))
}

/// `POST …/memory/reclaim`: takes memory back that a running machine can do without.
pub(crate) async fn reclaim(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<ReclaimMemory>,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    let machine = &access.machine;
    let mib = within("amount_mb", request.amount_mb, 1, most(machine))?;
    let host = cloud.host_of(machine)?;
    let answer = host
        .memory(machine.id, MemoryRequest::Reclaim { mib })
        .await?;
    Ok(Json(json!({ "actual_mb": answer.reclaimed_mib })))
}

fn view(report: MemoryReport) -> Value {
    json!({ "limit_mb": report.limit_mib, "available_mb": report.available_mib })
}

/// `guest.max_memory_mb`, or the configured memory where that is more.
fn most(machine: &Machine) -> u32 {
    let config: Option<Value> = serde_json::from_str(machine.config.get()).ok();
    let most = config
        .as_ref()
        .and_then(|config| config.pointer("/guest/max_memory_mb")?.as_u64())
        .and_then(|most| u32::try_from(most).ok());
    machine.spec.size.memory_mib.max(most.unwrap_or_default())
}

fn within(field: &str, value: Option<i64>, least: u32, most: u32) -> Result<u32, ApiError> {
    let Some(value) = value else {
        return Err(ApiError::invalid(format!("{field} is required")));
    };
    match u32::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(ApiError::invalid(format!(
            "{field} must be from {least} to {most}, got {value}"
        ))),
    }
}
