//! `/api/v1/wire_guard_peers`: devices entered by programs that hold a token for nothing else.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use http::request::Parts;
use http::{StatusCode, header};
use mayfly_access::presented_tokens;
use mayfly_control_store::{By, Delegation, Org, StoreError, WireguardToken};
use mayfly_wire as wire;

use super::{Admission, checked_key, configuration, enter, key_is_taken, unknown_peer, wait_until};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::request_id::RequestId;
use crate::limits::charge_user;
use crate::token_hash::token_hash;

const GROUP_MAX: usize = 64;

/// A program with a good token.
pub(crate) struct Delegate {
    token: WireguardToken,
    org: Org,
    request_id: Option<String>,
}

impl Delegate {
    fn by(&self, cloud: &Cloud) -> By {
        By::wireguard_token(cloud.now(), &self.token.name, self.request_id.clone())
    }
}

impl FromRequestParts<Arc<Cloud>> for Delegate {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
        let header = parts.headers.get(header::AUTHORIZATION);
        let presented = header
            .and_then(|header| header.to_str().ok())
            .and_then(|header| presented_tokens(header).next());
        let known = match presented {
            Some(token) => cloud.store.wireguard_token(token_hash(token)).await?,
            None => None,
        };
        let token = known.ok_or_else(|| {
            ApiError::unauthorized("a WireGuard token is required, of `wireguard token create`")
        })?;
        charge_user(parts, &format!("{}:{}", token.org_id, token.name))?;
        let org = cloud.store.org(token.org_id).await?;
        Ok(Delegate {
            token,
            org,
            request_id,
        })
    }
}

/// `POST /api/v1/wire_guard_peers`: enters a device into the organization's default network.
pub(crate) async fn start(
    State(cloud): State<Arc<Cloud>>,
    delegate: Delegate,
    JsonBody(request): JsonBody<wire::StartWireguardPeer>,
) -> Result<(StatusCode, Json<wire::StartedWireguardPeer>), ApiError> {
    let group = request.group.unwrap_or_default();
    if group.len() > GROUP_MAX || group.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!(
            "group: use up to {GROUP_MAX} bytes without control characters"
        )));
    }
    let delegation = Delegation {
        token: delegate.token.name.clone(),
        group,
    };
    let request = wire::CreateWireguardPeer {
        name: request.name,
        region: request.region,
        network: None,
        pubkey: request.pubkey,
    };
    let by = delegate.by(&cloud);
    let created = enter(&cloud, &delegate.org, request, Some(delegation), by).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

/// `PUT /api/v1/wire_guard_peers/<name>`: another key for a device that the same token entered. The old one is out and
/// the new one in before the answer is sent.
pub(crate) async fn update(
    State(cloud): State<Arc<Cloud>>,
    delegate: Delegate,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<wire::UpdateWireguardPeer>,
) -> Result<Json<wire::StartedWireguardPeer>, ApiError> {
    let key = checked_key(request.pubkey)?;
    let (org, by) = (&delegate.org, delegate.by(&cloud));
    let changed = cloud
        .store
        .rekey_wireguard_peer(org.id, &delegate.token.name, &name, key, by)
        .await;
    let before = changed.map_err(|error| match error {
        StoreError::Taken { .. } => key_is_taken(),
        other => unknown_peer(other, org, &name),
    })?;
    let mut gateways = cloud.gateways.iter();
    let gateway = gateways.find(|gateway| gateway.info().host_id == before.host_id);
    let gateway = gateway.ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "this is recorded, but region {} has no gateway now",
                before.region
            ),
        )
    })?;
    wait_until(&**gateway, before.public_key, Admission::Out).await?;
    wait_until(&**gateway, key, Admission::In).await?;
    Ok(Json(configuration(before, gateway.info()).into()))
}
