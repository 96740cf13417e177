//! What the platform offers: regions, sizes, placement advice.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_machine::{CpuKind, GuestSize};
use mayfly_types::Region;
use mayfly_wire::{Guest, Regions, VmSize};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;
use crate::placement::{Spread, share_out};

/// MiB of memory of the smallest machine; regions say their `capacity` in these.
const SMALLEST_MIB: u64 = 256;

/// `GET /v1/platform/regions`: with how many machines each holds when it is empty. With a size in the query, that many
/// of this size, and only the regions with a host large enough.
pub(crate) async fn regions(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
    query: Query,
) -> Result<Json<Regions>, ApiError> {
    let asked = asked_mib(&query)?;
    let each_mib = asked.unwrap_or(SMALLEST_MIB);
    let hosts = cloud.hosts.status().await;
    let mut regions = cloud.regions().describe();
    for region in &mut regions {
        let own = hosts
            .iter()
            .filter(|host| host.region.as_str() == region.code);
        let machines: u64 = own.map(|host| host.memory_mib / each_mib).sum();
        region.capacity = i64::try_from(machines).unwrap_or(i64::MAX);
    }
    if asked.is_some() {
        regions.retain(|region| region.capacity > 0);
    }
    Ok(Json(Regions {
        regions,
        nearest: cloud.regions().default_region().to_string(),
    }))
}

/// MiB of the machine that a query describes by `size`, or by `cpu_kind`, `cpus` and `memory_mb`; `None` if by nothing.
fn asked_mib(query: &Query) -> Result<Option<u64>, ApiError> {
    let wrong =
        |name: &str, what: &str| ApiError::unreadable(format!("query parameter \"{name}\" {what}"));
    if query.number("gpus", 0, 8)?.unwrap_or(0) > 0 || query.text("gpu_kind").is_some() {
        return Err(wrong("gpus", "must be 0: no host here has any"));
    }
    let preset = query.text("size").map(|name| {
        GuestSize::preset(name)
            .ok_or_else(|| wrong("size", "must be a preset, such as shared-cpu-1x"))
    });
    let preset = preset.transpose()?;
    let kind = match query.text("cpu_kind") {
        None => None,
        Some("shared") => Some(CpuKind::Shared),
        Some("performance") => Some(CpuKind::Performance),
        Some(_) => return Err(wrong("cpu_kind", "must be shared or performance")),
    };
    let cpus = query.number("cpus", 1, 128)?;
    let memory_mib = query.number("memory_mb", 1, i64::from(u32::MAX))?;
    let of_preset = preset.map(|size| i64::from(size.memory_mib));
    // Without a word on memory, as little as such CPUs may have.
    let least = (kind.is_some() || cpus.is_some()).then(|| {
        let (least, _, _) = kind.unwrap_or(CpuKind::Shared).memory_rule_mib();
        i64::from(least) * cpus.unwrap_or(1)
    });
    let asked = memory_mib.or(of_preset).or(least);
    Ok(asked.map(i64::unsigned_abs))
}

/// `GET /v1/platform/vm_sizes`.
pub(crate) async fn vm_sizes(_caller: Caller) -> Json<Value> {
    let sizes: Vec<VmSize> = GuestSize::presets()
        .map(|(name, size)| {
            let (least, most, step) = size.cpu_kind.memory_rule_mib();
            VmSize {
                name,
                cpu_kind: size.cpu_kind.as_str().to_owned(),
                cpus: size.cpus,
                memory_mb: size.memory_mib,
                min_memory_mb: least * size.cpus,
                max_memory_mb: most * size.cpus,
                memory_step_mb: step,
            }
        })
        .collect();
    Json(json!({ "sizes": sizes }))
}

/// What is to be placed. Volumes and weights have no say yet.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code)] // read so that clients may send them
pub(crate) struct Placement {
    compute: Option<Guest>,
    region: Option<String>,
    count: Option<i64>,
    volume_name: Option<String>,
    volume_size_bytes: Option<u64>,
    weights: Option<Map<String, Value>>,
    org_slug: Option<String>,
}

/// `POST /v1/platform/placements`: where `count` machines would go; 0 asks how many would fit in each region.
///
/// Without a region, or with `any`, the default region is filled first. An empty answer means that no region has a
/// host large enough.
pub(crate) async fn placements(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
    JsonBody(wanted): JsonBody<Placement>,
) -> Result<Json<Value>, ApiError> {
    let region = wanted.region.unwrap_or_default();
    let named: Vec<&str> = region
        .split(',')
        .map(str::trim)
        .filter(|code| !matches!(*code, "" | "any"))
        .collect();
    let (regions, spread) = if named.is_empty() {
        (cloud.regions().served().to_vec(), Spread::InOrder)
    } else {
        let found: Result<Vec<Region>, String> = named
            .iter()
            .map(|code| cloud.regions().find(code))
            .collect();
        let found = found.map_err(|text| ApiError::invalid(format!("region: {text}")))?;
        (found, Spread::Evenly)
    };
    let count = wanted.count.unwrap_or(1);
    if !(0..=1000).contains(&count) {
        return Err(ApiError::invalid(format!(
            "count must be from 0 to 1000, got {count}"
        )));
    }
    let memory_mib = wanted
        .compute
        .and_then(|guest| guest.memory_mb)
        .unwrap_or(0);
    let memory_mib = u64::try_from(memory_mib).unwrap_or(0).max(SMALLEST_MIB);
    let mut rooms = Vec::with_capacity(regions.len());
    for region in regions {
        rooms.push(cloud.room(region, memory_mib).await?);
    }
    let count = usize::try_from(count).unwrap_or(0);
    let placed: Vec<Value> = share_out(&rooms, count, spread)
        .into_iter()
        .map(|(region, count)| json!({"Region": region, "Count": count, "Concurrency": 1}))
        .collect();
    Ok(Json(json!({ "Regions": placed })))
}
