use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mayfly_host_api::{RestartMachine, StopMachine as HostStop};
use mayfly_machine::{Actor, MachineState, Signal, StopSpec};
use mayfly_wire::{GoDuration, SignalMachine, SignalName, StartResult, StopMachine};
use serde_json::Value;

use super::ok;
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

/// `POST …/start`: starts a created or stopped machine, thaws a suspended one.
pub(crate) async fn start(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<StartResult>, ApiError> {
    access.may_change(&cloud)?;
    let host = cloud.host_of(&access.machine)?;
    let report = host.start(access.machine.id, Actor::User).await?;
    let machine = cloud.read_back(access.machine.id, &report).await?;
    let previous = access.machine.state;
    Ok(Json(StartResult {
        message: if previous == MachineState::Started {
            "machine was started already".to_owned()
        } else {
            String::new()
        },
        status: machine.state.to_string(),
        previous_state: previous.to_string(),
    }))
}

/// `POST …/stop`: asks the machine to end, and kills it when its time is over.
pub(crate) async fn stop(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<StopMachine>,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    let request = HostStop {
        signal: signal(request.signal)?,
        patience: patience(request.timeout)?,
        by: Actor::User,
    };
    let host = cloud.host_of(&access.machine)?;
    let report = host.stop(access.machine.id, request).await?;
    cloud.read_back(access.machine.id, &report).await?;
    Ok(ok())
}

/// `POST …/restart?force_stop=&timeout=&signal=`.
pub(crate) async fn restart(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    query.only(&["force_stop", "timeout", "signal", "skip_health_checks"])?;
    let timeout = match query.text("timeout") {
        // Some clients count seconds.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => query
            .number("timeout", 0, i64::from(i32::MAX))?
            .map(|seconds| GoDuration(Duration::from_secs(seconds.unsigned_abs()))),
        _ => query.parsed("timeout")?,
    };
    let request = RestartMachine {
        force: query.flag("force_stop")?,
        signal: signal(query.text("signal").map(|name| SignalName(name.to_owned())))?,
        patience: patience(timeout)?,
        by: Actor::User,
    };
    let host = cloud.host_of(&access.machine)?;
    let report = host.restart(access.machine.id, request).await?;
    cloud.read_back(access.machine.id, &report).await?;
    Ok(ok())
}

/// `POST …/suspend`: freezes the machine with its memory and files.
pub(crate) async fn suspend(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    let host = cloud.host_of(&access.machine)?;
    let report = host.suspend(access.machine.id, Actor::User).await?;
    cloud.read_back(access.machine.id, &report).await?;
    Ok(ok())
}

/// `POST …/signal`.
pub(crate) async fn signal_machine(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<SignalMachine>,
) -> Result<Json<Value>, ApiError> {
    access.may_change(&cloud)?;
    let signal = signal(request.signal)?
        .ok_or_else(|| ApiError::invalid("signal is required: its name or number"))?;
    let host = cloud.host_of(&access.machine)?;
    host.signal(access.machine.id, signal).await?;
    Ok(ok())
}

/// `POST …/cordon`: takes the machine out of traffic; its process runs on.
pub(crate) async fn cordon(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    set_cordoned(&cloud, &access, true).await
}

/// `POST …/uncordon`.
pub(crate) async fn uncordon(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    set_cordoned(&cloud, &access, false).await
}

async fn set_cordoned(
    cloud: &Cloud,
    access: &MachineAccess,
    cordoned: bool,
) -> Result<Json<Value>, ApiError> {
    access.may_change(cloud)?;
    let host = cloud.host_of(&access.machine)?;
    let report = host
        .cordon(access.machine.id, cordoned, Actor::User)
        .await?;
    cloud.read_back(access.machine.id, &report).await?;
    Ok(ok())
}

fn signal(name: Option<SignalName>) -> Result<Option<Signal>, ApiError> {
    let name = name.filter(|name| !name.0.is_empty());
    let signal = name.map(|name| name.signal()).transpose();
    signal.map_err(|error| ApiError::invalid(format!("signal: {error}")))
}

/// Zero means the machine's own rule, as the upstream client sends it.
fn patience(timeout: Option<GoDuration>) -> Result<Option<Duration>, ApiError> {
    let patience = timeout
        .map(|timeout| timeout.0)
        .filter(|span| !span.is_zero());
    match patience {
        Some(span) if span > StopSpec::PATIENCE_MAX => Err(ApiError::invalid(format!(
            "timeout must be at most {}s",
            StopSpec::PATIENCE_MAX.as_secs()
        ))),
        patience => Ok(patience),
    }
}
