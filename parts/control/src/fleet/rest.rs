//! Our own endpoints about the hosts of the fleet, for its operator: an admin of the cloud's first organization whose
//! token is not bound to one organization.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{Host, Machine, StoreError};
use mayfly_fleet_api::JoinToken;
use mayfly_machine::MachineState;
use mayfly_types::HostId;
use mayfly_wire::{FleetHost, GoDuration, HostToken};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Caller, operator};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;
use crate::token_hash::token_hash;

const TOKEN_TTL: Duration = Duration::from_secs(3600);
const TOKEN_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewToken {
    ttl: Option<GoDuration>,
}

/// `POST /v1/hosts/tokens`: what one server may join by.
pub(crate) async fn token(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    JsonBody(request): JsonBody<NewToken>,
) -> Result<Json<HostToken>, ApiError> {
    operator(&cloud, &caller).await?;
    let deps = cloud.fleet.deps.as_ref().ok_or_else(|| {
        ApiError::conflict(
            "this cloud listens for no other servers: start it with --fleet-listen ADDRESS:PORT (fleet.listen)",
        )
    })?;
    let ttl = request.ttl.map_or(TOKEN_TTL, |ttl| ttl.0);
    if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
        return Err(ApiError::invalid("ttl must be from 1s to 168h"));
    }
    let token = JoinToken {
        secret: JoinToken::secret_from(cloud.entropy.bytes()),
        authority: deps.authority.fingerprint(),
    };
    let expires_at = cloud.now() + ttl;
    let digest = token_hash(token.secret.reveal());
    cloud
        .store
        .create_join_token(digest, expires_at, caller.by(&cloud))
        .await?;
    Ok(Json(HostToken {
        token: token.text(),
        address: deps.address.clone(),
        expires_at: expires_at.to_string(),
    }))
}

/// `GET /v1/hosts`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
) -> Result<Json<Vec<FleetHost>>, ApiError> {
    operator(&cloud, &caller).await?;
    let mut views = Vec::new();
    for host in cloud.store.hosts().await? {
        views.push(view(&cloud, host).await?);
    }
    Ok(Json(views))
}

/// `GET /v1/hosts/{host}`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<FleetHost>, ApiError> {
    operator(&cloud, &caller).await?;
    let host = find(&cloud, &id).await?;
    Ok(Json(view(&cloud, host).await?))
}

/// `POST /v1/hosts/{host}/cordon`: no new machines.
pub(crate) async fn cordon(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<FleetHost>, ApiError> {
    operator(&cloud, &caller).await?;
    let host = find(&cloud, &id).await?;
    let by = caller.by(&cloud);
    let host = cloud.store.set_host_cordon(host.id, true, by).await?;
    Ok(Json(view(&cloud, host).await?))
}

/// `DELETE /v1/hosts/{host}?force=`.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    operator(&cloud, &caller).await?;
    query.only(&["force"])?;
    let force = query.flag("force")?;
    let host = find(&cloud, &id).await?;
    let by = caller.by(&cloud);
    let operation = {
        let cloud = cloud.clone();
        async move { cloud.remove_host(&host, force, by).await }
    };
    cloud.finish(operation).await?;
    Ok(Json(json!({ "ok": true })))
}

pub(super) async fn find(cloud: &Cloud, id: &str) -> Result<Host, ApiError> {
    let id: HostId = id
        .parse()
        .map_err(|error: mayfly_types::InvalidId| ApiError::invalid(format!("host: {error}")))?;
    let host = cloud.store.host(id).await?;
    if host.removed_at.is_some() {
        return Err(ApiError::not_found(format!(
            "host {id} was removed from this fleet"
        )));
    }
    Ok(host)
}

pub(super) async fn view(cloud: &Cloud, host: Host) -> Result<FleetHost, StoreError> {
    let drains = cloud.store.host_drains().await?;
    let machines: Vec<Machine> = cloud.living_on(host.id).await?;
    let running = machines
        .iter()
        .filter(|machine| machine.state == MachineState::Started);
    let roster = cloud.fleet.deps.as_ref();
    let roster = roster.map(|deps| deps.roster.borrow().clone());
    let server = roster.as_ref().and_then(|roster| roster.server_of(host.id));
    Ok(FleetHost {
        id: host.id.to_string(),
        region: host.region.to_string(),
        server: server.map(|server| server.id.to_string()),
        address: server.map(|server| server.address.clone()),
        control: host.server_id.is_none(),
        state: if host.reach.reachable {
            "reachable"
        } else {
            "unreachable"
        }
        .to_owned(),
        since: host.reach.since.to_string(),
        seen_at: host.seen_at.to_string(),
        cordoned: host.cordoned_at.is_some(),
        draining: drains.iter().any(|drain| drain.host_id == host.id),
        machines: machines.len(),
        running: running.count(),
        memory_mib: host.size.memory_mib,
        cpus: host.size.cpus,
        joined_at: host.registered_at.to_string(),
    })
}
