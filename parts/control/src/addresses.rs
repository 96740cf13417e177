//! `/v1/apps/<app>/ip_assignments`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{
    Address, AddressKind, AddressSource, NewAddress, NewEgress, StoreError,
};
use mayfly_types::OrgId;
use mayfly_wire::{AllocateIp, IpAssignment, IpAssignments, IpNetwork, IpPair};
use std::collections::BTreeMap;

use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// The network apps are in unless they were given one of their own.
const DEFAULT_NETWORK: &str = "default";
const SERVICE_NAME_MAX: usize = 63;

/// `GET /v1/apps/<app>/ip_assignments`, oldest first.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
) -> Result<Json<IpAssignments>, ApiError> {
    let addresses = cloud.store.addresses(access.app.id).await?;
    Ok(Json(IpAssignments {
        ips: addresses.into_iter().map(view).collect(),
    }))
}

/// `POST /v1/apps/<app>/ip_assignments`: gives the app an address. The shared one is the same every time.
pub(crate) async fn allocate(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<AllocateIp>,
) -> Result<Json<IpAssignment>, ApiError> {
    if let Some(kind) = Egress::asked_for(&request) {
        return allocate_egress(&cloud, access, request, kind).await;
    }
    let kind: AddressKind = request
        .kind
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|_| {
            let given = request.kind.as_deref().unwrap_or_default();
            ApiError::invalid(format!(
                "type must be one of v4, v6, shared_v4, private_v6, egress_v4, egress_v6, egress_pair, got \"{given}\""
            ))
        })?;
    let new = NewAddress {
        app_id: access.app.id,
        region: region(&cloud, &request, kind)?,
        source: source(&cloud, &access, &request, kind)?,
        service_name: service_name(&request)?,
    };
    let network = request.network.unwrap_or_default();
    let by = access.caller.by(&cloud);
    match cloud.store.allocate_address(new, by).await {
        Ok(address) => Ok(Json(view(address))),
        Err(StoreError::NotFound {
            what: "network", ..
        }) => Err(ApiError::invalid(format!(
            "network: there is no network called \"{network}\" in that organization"
        ))),
        Err(StoreError::NoAddress) => Err(used_up(kind.as_str())),
        Err(error) => Err(error.into()),
    }
}

fn used_up(kind: &str) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("no address of type {kind} is free; release one or make addresses.{kind} larger"),
    )
    .coded("insufficient_capacity")
}

fn none_configured(kind: &str) -> ApiError {
    ApiError::invalid(format!(
        "type: this cloud has no addresses of type {kind}; its configuration names none (addresses.{kind})"
    ))
}

/// What machines shall leave by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Egress {
    V4,
    V6,
    Pair,
}

impl Egress {
    fn asked_for(request: &AllocateIp) -> Option<Egress> {
        match request.kind.as_deref() {
            Some("egress_v4") => Some(Egress::V4),
            Some("egress_v6") => Some(Egress::V6),
            Some("egress_pair") => Some(Egress::Pair),
            _ => None,
        }
    }
}

/// Addresses to leave by, for the machines of one region.
async fn allocate_egress(
    cloud: &Cloud,
    access: AppAccess,
    request: AllocateIp,
    kind: Egress,
) -> Result<Json<IpAssignment>, ApiError> {
    let code = request.region.as_deref().unwrap_or_default();
    if code.is_empty() {
        return Err(ApiError::invalid(
            "region: addresses to leave by belong to one region; name it",
        ));
    }
    let region = cloud.regions().find(code);
    let region = region.map_err(|text| ApiError::invalid(format!("region: {text}")))?;
    let pools = &cloud.settings.addresses;
    let v4 = pools.egress_v4.ok_or_else(|| none_configured("egress_v4"));
    let v6 = pools.egress_v6.ok_or_else(|| none_configured("egress_v6"));
    let new = NewEgress {
        app_id: access.app.id,
        region,
        ranges: match kind {
            Egress::V4 => vec![v4?],
            Egress::V6 => vec![v6?],
            Egress::Pair => vec![v4?, v6?],
        },
        start: u128::from_be_bytes(cloud.entropy.bytes()),
    };
    let made = match cloud
        .store
        .allocate_egress(new, access.caller.by(cloud))
        .await
    {
        Err(StoreError::NoAddress) => return Err(used_up("egress_v4 or egress_v6")),
        made => made?,
    };
    let mut made: Vec<IpAssignment> = made.into_iter().map(view).collect();
    let last = made.pop().unwrap_or_default();
    Ok(Json(match made.pop() {
        None => last,
        Some(first) => IpAssignment {
            ip_pair: Some(Box::new(IpPair {
                v4: first,
                v6: last,
            })),
            ..IpAssignment::default()
        },
    }))
}

/// `DELETE /v1/apps/<app>/ip_assignments/<ip>`.
pub(crate) async fn release(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<StatusCode, ApiError> {
    let text = path.get("ip").map(String::as_str).unwrap_or_default();
    let unknown = || {
        ApiError::not_found(format!(
            "IP address {text} was not found in app {}",
            access.app.name
        ))
    };
    let ip: IpAddr = text.parse().map_err(|_| unknown())?;
    let by = access.caller.by(&cloud);
    match cloud.store.release_address(access.app.id, ip, by).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(StoreError::NotFound {
            what: "address", ..
        }) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

fn region(
    cloud: &Cloud,
    request: &AllocateIp,
    kind: AddressKind,
) -> Result<Option<mayfly_types::Region>, ApiError> {
    let code = request.region.as_deref().unwrap_or_default();
    if matches!(code, "" | "global") {
        return Ok(None);
    }
    if !matches!(kind, AddressKind::V4 | AddressKind::V6) {
        return Err(ApiError::invalid(format!(
            "region: addresses of type {kind} are in all regions; leave it out"
        )));
    }
    let found = cloud.regions().find(code);
    let found = found.map_err(|text| ApiError::invalid(format!("region: {text}")))?;
    Ok(Some(found))
}

fn source(
    cloud: &Cloud,
    access: &AppAccess,
    request: &AllocateIp,
    kind: AddressKind,
) -> Result<AddressSource, ApiError> {
    let network = network(access, request, kind)?;
    let pools = &cloud.settings.addresses;
    let none = || none_configured(kind.as_str());
    let range = match kind {
        AddressKind::V4 => pools.v4,
        AddressKind::V6 => pools.v6,
        AddressKind::SharedV4 => {
            let ip = pools.shared_v4.ok_or_else(none)?;
            return Ok(AddressSource::Shared(ip.into()));
        }
        AddressKind::EgressV4 => pools.egress_v4,
        AddressKind::EgressV6 => pools.egress_v6,
        AddressKind::PrivateV6 => {
            return Ok(AddressSource::Private {
                network,
                number: u64::from_be_bytes(cloud.entropy.bytes()),
            });
        }
    };
    Ok(AddressSource::Pool {
        range: range.ok_or_else(none)?,
        start: u128::from_be_bytes(cloud.entropy.bytes()),
    })
}

/// The network that shall reach a private address: `None` for the app's own.
fn network(
    access: &AppAccess,
    request: &AllocateIp,
    kind: AddressKind,
) -> Result<Option<(OrgId, String)>, ApiError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (org, network) = (given(&request.org_slug), given(&request.network));
    if kind != AddressKind::PrivateV6 {
        // Clients name the app's own organization with every type.
        if network.is_some() {
            return Err(ApiError::invalid(format!(
                "network belongs to addresses of type private_v6, not {kind}"
            )));
        }
        return Ok(None);
    }
    let org = match &org {
        None => access.app.org_id,
        Some(slug) => access.caller.org_called(slug)?.id,
    };
    Ok(match network {
        None if org == access.app.org_id => None,
        None => Some((org, DEFAULT_NETWORK.to_owned())),
        Some(name) => Some((org, name)),
    })
}

fn service_name(request: &AllocateIp) -> Result<String, ApiError> {
    let name = request.service_name.clone().unwrap_or_default();
    if name.len() > SERVICE_NAME_MAX || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "service_name: use at most {SERVICE_NAME_MAX} characters that can be printed"
        )));
    }
    Ok(name)
}

fn view(address: Address) -> IpAssignment {
    IpAssignment {
        ip: address.ip.to_string(),
        kind: address.kind.to_string(),
        region: address
            .region
            .map_or_else(|| "global".to_owned(), |region| region.to_string()),
        service_name: address.service_name,
        shared: address.kind == AddressKind::SharedV4,
        egress: matches!(address.kind, AddressKind::EgressV4 | AddressKind::EgressV6),
        created_at: Some(address.created_at),
        network: address.network.map(|network| IpNetwork {
            name: network.name,
            org_slug: network.org_slug.to_string(),
        }),
        ip_pair: None,
    }
}
