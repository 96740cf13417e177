//! `/v1/orgs/<slug>/wireguard_peers`: users' devices in private networks.

mod delegated;
mod keeper;
pub(crate) mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{By, Delegation, NewWireguardPeer, Org, StoreError, WireguardPeer};
use mayfly_edge_api::{GatewayApi, GatewayInfo, PeerReport};
use mayfly_types::{PeerKey, Region};
use mayfly_wire as wire;

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

pub(crate) use delegated::{start, update};
pub(crate) use keeper::Keeper;

const DEFAULT_NETWORK: &str = "default";
/// Names that clients make of host, user and a number are long; only those of up to 63 letters are names in DNS.
const NAME_MAX: usize = 128;
/// Devices of one organization.
const PEERS_MAX: usize = 2000;
/// How long an answer waits for the gateway to have let a device in or out.
const PATIENCE: Duration = Duration::from_secs(10);

/// `GET /v1/orgs/<slug>/wireguard_peers`, by name.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<wire::WireguardPeers>, ApiError> {
    let org = caller.org_called(&slug)?;
    let reports = reports(&cloud);
    let peers = cloud.store.wireguard_peers(org.id).await?;
    let peers = peers.into_iter().map(|peer| view(&cloud, peer, &reports));
    Ok(Json(wire::WireguardPeers {
        peers: peers.collect(),
    }))
}

/// `GET /v1/orgs/<slug>/wireguard_peers/<name>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, name)): Path<(String, String)>,
) -> Result<Json<wire::WireguardPeer>, ApiError> {
    let org = caller.org_called(&slug)?;
    let found = cloud.store.wireguard_peer(org.id, &name).await;
    let peer = found.map_err(|error| unknown_peer(error, org, &name))?;
    Ok(Json(view(&cloud, peer, &reports(&cloud))))
}

/// `POST /v1/orgs/<slug>/wireguard_peers`: enters a device. Its gateway lets it in before the answer is sent.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<wire::CreateWireguardPeer>,
) -> Result<(StatusCode, Json<wire::CreatedWireguardPeer>), ApiError> {
    let org = caller.org_called(&slug)?;
    let created = enter(&cloud, org, request, None, caller.by(&cloud)).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Enters a device and waits until its gateway lets it in.
async fn enter(
    cloud: &Cloud,
    org: &Org,
    request: wire::CreateWireguardPeer,
    delegation: Option<Delegation>,
    by: By,
) -> Result<wire::CreatedWireguardPeer, ApiError> {
    let slug = &org.slug;
    let name = checked_name(request.name.unwrap_or_default())?;
    let public_key = checked_key(request.pubkey)?;
    let gateway = gateway_in(cloud, request.region.unwrap_or_default().as_str())?;
    let info = gateway.info();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let network = given(request.network).unwrap_or_else(|| DEFAULT_NETWORK.to_owned());
    if cloud.store.wireguard_peers(org.id).await?.len() >= PEERS_MAX {
        return Err(ApiError::invalid(format!(
            "organization \"{slug}\" has {PEERS_MAX} WireGuard peers; remove some first"
        )));
    }
    let new = NewWireguardPeer {
        public_key,
        org_id: org.id,
        network: network.clone(),
        name: name.clone(),
        region: info.region.clone(),
        host_id: info.host_id,
        number: u64::from_be_bytes(cloud.entropy.bytes()) >> 1,
        delegation,
    };
    let created = cloud.store.create_wireguard_peer(new, by).await;
    let peer = created.map_err(|error| match error {
        StoreError::NotFound {
            what: "network", ..
        } => ApiError::invalid(format!(
            "network: there is no network called \"{network}\" in organization \"{slug}\""
        )),
        StoreError::Taken { what: "peer", .. } => ApiError::invalid(format!(
            "name: organization \"{slug}\" has a WireGuard peer called \"{name}\""
        ))
        .coded("name_taken"),
        StoreError::Taken { .. } => key_is_taken(),
        other => other.into(),
    })?;
    wait_until(&*gateway, public_key, Admission::In).await?;
    Ok(configuration(peer, info))
}

/// What a device needs to reach its gateway.
fn configuration(peer: WireguardPeer, gateway: GatewayInfo) -> wire::CreatedWireguardPeer {
    wire::CreatedWireguardPeer {
        name: peer.name,
        region: peer.region.to_string(),
        network: peer.network_name,
        peerip: peer.ip.to_string(),
        endpointip: gateway.endpoint,
        endpoint_port: gateway.port,
        websocket_port: gateway.websocket_port,
        pubkey: gateway.public_key.to_string(),
    }
}

/// `DELETE /v1/orgs/<slug>/wireguard_peers/<name>`: the device is cut off before the answer is sent.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let org = caller.org_called(&slug)?;
    let by = caller.by(&cloud);
    let removed = cloud.store.remove_wireguard_peer(org.id, &name, by).await;
    let peer = removed.map_err(|error| unknown_peer(error, org, &name))?;
    let gateways = cloud.gateways.iter();
    for gateway in gateways.filter(|gateway| gateway.info().host_id == peer.host_id) {
        wait_until(&**gateway, peer.public_key, Admission::Out).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    In,
    Out,
}

async fn wait_until(
    gateway: &dyn GatewayApi,
    key: PeerKey,
    wanted: Admission,
) -> Result<(), ApiError> {
    let mut admitted = gateway.admitted();
    let settled = admitted.wait_for(|keys| keys.contains(&key) == (wanted == Admission::In));
    match tokio::time::timeout(PATIENCE, settled).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "this is recorded, but the gateway of region {} has not acted on it yet; it will once it is back",
                gateway.info().region
            ),
        )),
    }
}

fn checked_key(given: Option<String>) -> Result<PeerKey, ApiError> {
    let given = given.unwrap_or_default();
    given
        .parse()
        .map_err(|error| ApiError::invalid(format!("pubkey: {error}")))
}

fn key_is_taken() -> ApiError {
    ApiError::invalid("pubkey: this key belongs to another peer; make a new one")
}

fn checked_name(name: String) -> Result<String, ApiError> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(good) {
        return Err(ApiError::invalid(format!(
            "name: use 1 to {NAME_MAX} letters, digits and dashes, got \"{name}\""
        )));
    }
    Ok(name)
}

/// The gateway of a region, or of the default region for an empty code.
fn gateway_in(cloud: &Cloud, code: &str) -> Result<Arc<dyn GatewayApi>, ApiError> {
    let mut gateways = cloud.gateways.iter();
    let found = match code {
        "" => gateways.next(),
        _ => gateways.find(|gateway| gateway.info().region.as_str() == code),
    };
    found.cloned().ok_or_else(|| {
        let regions: Vec<String> = cloud
            .gateways
            .iter()
            .map(|gateway| gateway.info().region.to_string())
            .collect();
        ApiError::invalid(if regions.is_empty() {
            "region: this cloud has no WireGuard gateway; its configuration says why (gateway)"
                .to_owned()
        } else {
            format!(
                "region: \"{code}\" has no WireGuard gateway; use one of {}",
                regions.join(", ")
            )
        })
    })
}

/// What gateways know of devices, by key.
fn reports(cloud: &Cloud) -> BTreeMap<PeerKey, PeerReport> {
    let gateways = cloud.gateways.iter();
    let reports = gateways.flat_map(|gateway| gateway.peers());
    reports.map(|report| (report.public_key, report)).collect()
}

fn view(
    cloud: &Cloud,
    peer: WireguardPeer,
    reports: &BTreeMap<PeerKey, PeerReport>,
) -> wire::WireguardPeer {
    let report = reports.get(&peer.public_key);
    let heard = report
        .and_then(|report| report.last_handshake)
        .map(|ago| cloud.now() - ago);
    wire::WireguardPeer {
        name: peer.name,
        region: peer.region.to_string(),
        network: peer.network_name,
        peerip: peer.ip.to_string(),
        pubkey: peer.public_key.to_string(),
        created_at: Some(peer.created_at),
        last_handshake_at: heard.or(peer.seen_at),
        connected: report.is_some_and(PeerReport::is_connected),
        endpoint: report
            .and_then(|report| report.endpoint)
            .map(|endpoint| endpoint.to_string()),
        rx_bytes: report.map_or(0, |report| report.rx_bytes),
        tx_bytes: report.map_or(0, |report| report.tx_bytes),
        token: peer.delegation.as_ref().map(|one| one.token.clone()),
        group: peer
            .delegation
            .map(|one| one.group)
            .filter(|group| !group.is_empty()),
    }
}

fn unknown_peer(error: StoreError, org: &Org, name: &str) -> ApiError {
    unknown(error, org, "peer", name)
}

/// Says which peer or token an organization does not have.
fn unknown(error: StoreError, org: &Org, what: &str, name: &str) -> ApiError {
    match error {
        StoreError::NotFound { .. } => ApiError::not_found(format!(
            "organization \"{}\" has no WireGuard {what} called \"{name}\"",
            org.slug
        )),
        other => other.into(),
    }
}

/// The regions devices can enter by.
pub(crate) fn regions(gateways: &[Arc<dyn GatewayApi>]) -> Vec<Region> {
    gateways
        .iter()
        .map(|gateway| gateway.info().region)
        .collect()
}
