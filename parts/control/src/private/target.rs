use std::net::Ipv6Addr;
use std::sync::Arc;

use mayfly_control_store::Org;
use mayfly_edge_api::Reach;
use mayfly_host_api::HostApi;
use mayfly_types::{AppName, NetworkId};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// A private address that may be reached, and the host to reach it from.
pub(super) struct Target {
    pub(super) address: Ipv6Addr,
    pub(super) host: Arc<dyn HostApi>,
}

/// Whose eyes names are seen with: the network of `?app=`, of `?network=`, or the organization's default one.
pub(super) async fn network(
    cloud: &Cloud,
    caller: &Caller,
    org: &Org,
    query: &Query,
) -> Result<NetworkId, ApiError> {
    if let Some(name) = query.text("app") {
        let unseen = || ApiError::not_found(format!("Could not find App \"{name}\""));
        let parsed: AppName = name.parse().map_err(|_| unseen())?;
        let app = cloud.store.app(parsed).await.map_err(|_| unseen())?;
        return match caller.org(app.org_id) {
            Some(owner) if owner.id == org.id && caller.sees_app(&app) => Ok(app.network_id),
            _ => Err(unseen()),
        };
    }
    let wanted = query.text("network").unwrap_or("default");
    let networks = cloud.store.networks(org.id).await?;
    let found = networks.iter().find(|network| network.name == wanted);
    found.map(|network| network.id).ok_or_else(|| {
        ApiError::not_found(format!(
            "organization \"{}\" has no network \"{wanted}\"",
            org.slug
        ))
    })
}

/// What `host` (an address or a name) stands for.
///
/// # Errors
/// 404 for a name without an address, and for every address that the organization has nothing to do with.
pub(super) async fn target(
    cloud: &Cloud,
    org: &Org,
    network: NetworkId,
    host: &str,
) -> Result<Target, ApiError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = match bare.parse::<Ipv6Addr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let regions = cloud.regions();
            let region = regions.default_region();
            cloud.names.addresses(network, region, bare)
        }
    };
    if addresses.is_empty() {
        return Err(ApiError::not_found(format!(
            "{host} has no address: only started machines have one, under names such as <app>.internal"
        )));
    }
    for address in addresses {
        if let Some(host) = reached_from(cloud, org, address).await? {
            return Ok(Target { address, host });
        }
    }
    Err(ApiError::not_found(format!(
        "{host} is no address of a machine or app that organization \"{}\" reaches",
        org.slug
    )))
}

async fn reached_from(
    cloud: &Cloud,
    org: &Org,
    address: Ipv6Addr,
) -> Result<Option<Arc<dyn HostApi>>, ApiError> {
    for member in cloud.hosts.all() {
        let catalog = member.api.catalog().borrow().clone();
        let machine = catalog.iter().find(|entry| entry.private_ip == address);
        if let Some(machine) = machine {
            return Ok((machine.org_id == org.id).then(|| member.api.clone()));
        }
    }
    let networks = cloud.store.networks(org.id).await?;
    let directory = cloud.directory.current();
    let mut assigned = directory.apps.iter().flat_map(|app| &app.addresses);
    let is_ours = assigned.any(|assigned| match assigned.reach {
        Reach::Private(network) => {
            assigned.ip == address && networks.iter().any(|ours| ours.id == network)
        }
        _ => false,
    });
    // Every host that machines ask has an edge that answers for private addresses of apps.
    let first = cloud.hosts.all().into_iter().next();
    Ok(first.filter(|_| is_ours).map(|member| member.api))
}
