use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_control_store::{Lease, NewLease};
use mayfly_types::InstanceId;
use mayfly_wire::{LeaseData, TakeLease};
use serde_json::Value;

use super::ok;
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

/// Seconds, when the caller does not say.
const TTL: u64 = 30;
const TTL_MAX: i64 = 24 * 3600;
const DESCRIPTION_MAX: usize = 500;

/// A nonce: short, random, not to be guessed.
pub(super) fn fresh_nonce(cloud: &Cloud) -> String {
    let bytes: [u8; 12] = cloud.entropy.bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The seconds of a lease; 0 and nothing mean no lease.
pub(super) fn lease_ttl(seconds: Option<i64>) -> Result<Option<Duration>, ApiError> {
    match seconds {
        None | Some(0) => Ok(None),
        Some(seconds) if (1..=TTL_MAX).contains(&seconds) => {
            Ok(Some(Duration::from_secs(seconds.unsigned_abs())))
        }
        Some(seconds) => Err(ApiError::invalid(format!(
            "lease ttl must be from 1 to {TTL_MAX} seconds, got {seconds}"
        ))),
    }
}

/// `GET …/lease`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<mayfly_wire::Lease>, ApiError> {
    let version = access.machine.instance_id;
    let lease = access.machine.lease_at(cloud.now());
    let lease = lease.ok_or_else(|| ApiError::not_found("lease not found"))?;
    Ok(Json(view(lease.clone(), version)))
}

/// `POST …/lease`: takes the lease, or with its nonce renews it. The query and the body say the same.
pub(crate) async fn take(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    query: Query,
    JsonBody(request): JsonBody<TakeLease>,
) -> Result<(StatusCode, Json<mayfly_wire::Lease>), ApiError> {
    let ttl = match query.number("ttl", 0, TTL_MAX)? {
        Some(seconds) => Some(seconds),
        None => request.ttl,
    };
    let ttl = lease_ttl(ttl)?.unwrap_or(Duration::from_secs(TTL));
    let description = query
        .text("description")
        .map(str::to_owned)
        .or(request.description)
        .filter(|text| !text.is_empty());
    if description
        .as_ref()
        .is_some_and(|text| text.len() > DESCRIPTION_MAX)
    {
        return Err(ApiError::invalid(format!(
            "description must have at most {DESCRIPTION_MAX} bytes"
        )));
    }
    let renewal = access.nonce.is_some();
    let lease = NewLease {
        nonce: fresh_nonce(&cloud),
        owner: access.caller.name(),
        description,
        expires_at: cloud.now() + ttl,
    };
    let by = access.caller.by(&cloud);
    let (lease, machine) = cloud
        .store
        .take_lease(access.machine.id, lease, access.nonce, by)
        .await?;
    let status = if renewal {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(view(lease, machine.instance_id))))
}

/// `DELETE …/lease`: gives it back.
pub(crate) async fn release(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<Value>, ApiError> {
    let by = access.caller.by(&cloud);
    // Without a nonce nobody is the holder: refused while the lease holds, not found otherwise.
    let nonce = access.nonce.unwrap_or_default();
    cloud
        .store
        .release_lease(access.machine.id, nonce, by)
        .await?;
    Ok(ok())
}

fn view(lease: Lease, version: InstanceId) -> mayfly_wire::Lease {
    mayfly_wire::Lease {
        status: "success".to_owned(),
        data: Some(LeaseData {
            nonce: lease.nonce,
            expires_at: lease.expires_at.as_millis() / 1000,
            owner: lease.owner,
            description: lease.description.unwrap_or_default(),
            version: version.to_string(),
        }),
    }
}
