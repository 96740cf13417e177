//! `/v1/apps/<app>/scale`: numbers and sizes of machines, as releases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_appconfig::AppConfig;
use mayfly_control_store::{Machine, NewRelease, Release};
use mayfly_deploy::{Target, spread};
use mayfly_machine::GuestSize;
use mayfly_types::{Region, ReleaseId};
use mayfly_wire::{ScaleConcurrency, ScaleCount, ScaleVm, ServiceConcurrency};
use serde_json::{Value, json};

use super::api::{app_config, created};
use super::content::group_of;
use super::machines::is_managed;
use super::options::{ConcurrencyChange, GuestChange, Options};
use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// The group of apps that name none.
const GROUP_USUAL: &str = "app";

/// More machines of one group than anybody means.
const COUNT_MAX: usize = 1000;

/// Of concurrent connections or requests.
const LIMIT_MAX: i64 = 1_000_000;
const LIMIT_TYPES: [&str; 2] = ["connections", "requests"];

/// Longer ones say the same more tediously.
const DESCRIPTION_LETTERS: usize = 200;

/// What changes in one region.
struct Change {
    target: Target,
    from: usize,
    size: String,
}

/// `POST …/scale/count`: says what it would do (`plan`), or records a release that does it.
pub(crate) async fn count(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<ScaleCount>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let before = newest(&cloud, &access).await?;
    let machines = managed(&cloud, &access).await?;
    let changes = changes(&cloud, &request, &before, &machines)?;
    let with_new_volumes = request.with_new_volumes == Some(true);
    let mut plan: Vec<Value> = Vec::new();
    for change in &changes {
        let Target {
            group,
            region,
            count,
        } = &change.target;
        let more = count.saturating_sub(change.from);
        let volumes = cloud
            .volumes_for(&access.app, &before, &machines, group, region)
            .await?;
        let reused = volumes.map(|free| match with_new_volumes {
            true => 0,
            false => more.min(free),
        });
        plan.push(json!({
            "group": group,
            "region": region,
            "from": change.from,
            "to": count,
            "size": change.size,
            "new_volumes": reused.map(|reused| more - reused),
            "reused_volumes": reused,
        }));
    }
    if plan.is_empty() || request.plan == Some(true) {
        let answer = json!({ "plan": plan, "release": null });
        return Ok((StatusCode::OK, Json(answer)));
    }
    let said: Vec<String> = changes
        .iter()
        .map(|change| {
            let Target {
                group,
                region,
                count,
            } = &change.target;
            format!("{group} to {count} in {region}")
        })
        .collect();
    let description = format!("Scale {}", said.join(", "));
    let description = description.chars().take(DESCRIPTION_LETTERS).collect();
    let options = Options {
        scale: changes.into_iter().map(|change| change.target).collect(),
        scale_env: request.env.unwrap_or_default(),
        with_new_volumes,
        ..Options::of_scaling()
    };
    let release = record(&cloud, &access, &before, options, description).await?;
    let answer = json!({ "plan": plan, "release": release });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `POST …/scale/vm`: another size for all machines, or those of a group, as a rolling release.
pub(crate) async fn vm(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<ScaleVm>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let before = newest(&cloud, &access).await?;
    let mut machines = managed(&cloud, &access).await?;
    let group = request.process_group.filter(|group| !group.is_empty());
    if let Some(group) = &group {
        machines.retain(|machine| group_of(machine) == *group);
        if machines.is_empty() {
            return Err(ApiError::invalid(format!(
                "process_group: app {} has no machine of group \"{group}\"",
                access.app.name
            )));
        }
    }
    let preset = match request.size.as_deref().filter(|size| !size.is_empty()) {
        None => None,
        Some(name) => Some(GuestSize::preset(name).ok_or_else(|| {
            let names: Vec<String> = GuestSize::presets().map(|(name, _)| name).collect();
            ApiError::invalid(format!(
                "size must be one of {}, got \"{name}\"",
                names.join(", ")
            ))
        })?),
    };
    if preset.is_none() && request.memory_mb.is_none() {
        return Err(ApiError::invalid("size or memory_mb is required"));
    }
    let memory_mib = match request.memory_mb {
        None => preset.map(|size| size.memory_mib),
        Some(memory) => Some(u32::try_from(memory).map_err(|_| {
            ApiError::invalid(format!("memory_mb must be a number of MB, got {memory}"))
        })?),
    };
    let change = GuestChange {
        cpu_kind: preset.map(|size| size.cpu_kind),
        cpus: preset.map(|size| size.cpus),
        memory_mib,
    };
    for machine in &machines {
        let wanted = change.of(machine.spec.size).check();
        wanted.map_err(|error| ApiError::invalid(format!("machine {}: {error}", machine.id)))?;
    }
    let size = match (&request.size, memory_mib) {
        (Some(size), Some(memory)) => format!("{size} with {memory} MB"),
        (None, Some(memory)) => format!("{memory} MB"),
        (size, None) => size.clone().unwrap_or_default(),
    };
    let whose = group
        .as_ref()
        .map_or_else(String::new, |group| format!("{group} "));
    let options = Options {
        guest: Some(change),
        process_groups: group.into_iter().collect(),
        ..Options::of_scaling()
    };
    let description = format!("Scale {whose}to {size}");
    let release = record(&cloud, &access, &before, options, description).await?;
    Ok((StatusCode::CREATED, Json(json!({ "release": release }))))
}

/// `POST …/scale/concurrency`: other limits for the app's services, or those of a group, as a rolling release. They become
/// part of the app's configuration.
pub(crate) async fn concurrency(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<ScaleConcurrency>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let before = newest(&cloud, &access).await?;
    let limits = ServiceConcurrency {
        soft_limit: request.soft_limit,
        hard_limit: request.hard_limit,
        limit_type: request.limit_type.filter(|kind| !kind.is_empty()),
    };
    for (field, limit, least) in [
        ("soft_limit", limits.soft_limit, 1),
        ("hard_limit", limits.hard_limit, 0),
    ] {
        if limit.is_some_and(|limit| !(least..=LIMIT_MAX).contains(&limit)) {
            return Err(ApiError::invalid(format!(
                "{field} must be a number from {least} to {LIMIT_MAX}, got {}",
                limit.unwrap_or_default()
            )));
        }
    }
    let kind = limits.limit_type.as_deref();
    if let Some(kind) = kind.filter(|kind| !LIMIT_TYPES.contains(kind)) {
        return Err(ApiError::invalid(format!(
            "type must be one of {}, got \"{kind}\"",
            LIMIT_TYPES.join(", ")
        )));
    }
    let words = [
        limits.soft_limit.map(|limit| format!("soft limit {limit}")),
        limits.hard_limit.map(|limit| format!("hard limit {limit}")),
        limits.limit_type.clone(),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() {
        return Err(ApiError::invalid(
            "soft_limit, hard_limit or type is required",
        ));
    }
    let change = ConcurrencyChange {
        limits,
        group: request.process_group.filter(|group| !group.is_empty()),
    };
    let config = before.config.as_ref().map(app_config).transpose()?;
    let config = change.apply(config.unwrap_or_default())?;
    let description = format!("Concurrency: {}", words.join(", "));
    let options = Options {
        concurrency: Some(change),
        keep_config: false,
        update_only: true,
        ..Options::of_scaling()
    };
    let before = Release {
        config: Some(config),
        ..before
    };
    let release = record(&cloud, &access, &before, options, description).await?;
    Ok((StatusCode::CREATED, Json(json!({ "release": release }))))
}

/// The release whose image and configuration stay.
async fn newest(cloud: &Cloud, access: &AppAccess) -> Result<Release, ApiError> {
    let newest = cloud.store.complete_release(access.app.id, None).await?;
    newest.ok_or_else(|| {
        ApiError::invalid(format!(
            "app {} has no complete release: deploy it first",
            access.app.name
        ))
    })
}

async fn managed(cloud: &Cloud, access: &AppAccess) -> Result<Vec<Machine>, ApiError> {
    let mut machines = cloud.machines_of(&access.app, false).await?;
    machines.retain(is_managed);
    Ok(machines)
}

fn changes(
    cloud: &Cloud,
    request: &ScaleCount,
    before: &Release,
    machines: &[Machine],
) -> Result<Vec<Change>, ApiError> {
    let config = before.config.as_ref().map(app_config).transpose()?;
    let config: AppConfig = config.unwrap_or_default();
    let mut known: BTreeSet<String> = config.groups().into_iter().map(str::to_owned).collect();
    known.extend(machines.iter().map(group_of));
    let counts = request.counts.as_ref().filter(|counts| !counts.is_empty());
    let counts = counts.ok_or_else(|| {
        ApiError::invalid("counts is required: an object of process groups and numbers")
    })?;
    let regions = regions(cloud, request, &config, machines)?;
    let max_per_region = match request.max_per_region {
        None | Some(..0) => None,
        Some(most) => usize::try_from(most).ok(),
    };
    let mut changes = Vec::new();
    for (named, wanted) in counts {
        let group = match named.as_str() {
            "" => group_meant(&known)?,
            named => named,
        };
        if !known.contains(group) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(ApiError::invalid(format!(
                "counts: process group \"{group}\" does not exist: use {}",
                known.join(", ")
            )));
        }
        let of_group: Vec<&Machine> = machines
            .iter()
            .filter(|machine| group_of(machine) == group && machine.spec.standbys.is_empty())
            .collect();
        let mut current: BTreeMap<Region, usize> = BTreeMap::new();
        for machine in &of_group {
            *current.entry(machine.region.clone()).or_default() += 1;
        }
        let there = regions.iter().filter_map(|region| current.get(region));
        let total = wanted_count(group, wanted, there.sum())?;
        let spread = spread(total, &current, &regions, max_per_region)
            .map_err(|error| ApiError::invalid(format!("max_per_region: {error}")))?;
        let size = of_group.last().map_or_else(
            || size_of(&config, group),
            |machine| machine.spec.size.to_string(),
        );
        for (region, count) in spread {
            let from = current.get(&region).copied().unwrap_or_default();
            if from != count {
                changes.push(Change {
                    target: Target {
                        group: group.to_owned(),
                        region,
                        count,
                    },
                    from,
                    size: size.clone(),
                });
            }
        }
    }
    Ok(changes)
}

/// The group that a number alone is for: `app`, or the only one.
fn group_meant(known: &BTreeSet<String>) -> Result<&str, ApiError> {
    let mut groups = known.iter().map(String::as_str);
    match (known.contains(GROUP_USUAL), known.len()) {
        (true, _) => Ok(GROUP_USUAL),
        (false, 1) => Ok(groups.next().unwrap_or(GROUP_USUAL)),
        _ => Err(ApiError::invalid(format!(
            "counts: name the process group, one of {}",
            groups.collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn size_of(config: &AppConfig, group: &str) -> String {
    let machine = config.machine_config(group, None).ok();
    let size = machine.and_then(|machine| machine.size_of_guest().ok());
    size.unwrap_or_default().to_string()
}

/// `3`, or `+1` and `-1` beside what is there in the regions this is about.
fn wanted_count(group: &str, wanted: &str, current: usize) -> Result<usize, ApiError> {
    let wrong = || {
        ApiError::invalid(format!(
            "counts: {group} must be a number from 0 to {COUNT_MAX}, or a change such as +1 or -2, got \"{wanted}\""
        ))
    };
    let number: i64 = wanted.parse().map_err(|_| wrong())?;
    let total = match wanted.starts_with(['+', '-']) {
        true if number == 0 => return Err(wrong()),
        true => (i64::try_from(current)
            .unwrap_or(i64::MAX)
            .saturating_add(number))
        .max(0),
        false => number,
    };
    let total = usize::try_from(total).map_err(|_| wrong())?;
    match total <= COUNT_MAX {
        true => Ok(total),
        false => Err(wrong()),
    }
}

/// The regions named, or those the app is in, its primary one first.
fn regions(
    cloud: &Cloud,
    request: &ScaleCount,
    config: &AppConfig,
    machines: &[Machine],
) -> Result<Vec<Region>, ApiError> {
    let find = |code: &str| {
        let found = cloud.regions().find(code);
        found.map_err(|text| ApiError::invalid(format!("regions: {text}")))
    };
    let given = request.regions.iter().flatten();
    let mut regions: Vec<Region> = given
        .filter(|code| !code.is_empty())
        .map(|code| find(code))
        .collect::<Result<_, _>>()?;
    if regions.is_empty() {
        let there: BTreeSet<&Region> = machines.iter().map(|machine| &machine.region).collect();
        let primary = config
            .primary_region
            .as_deref()
            .filter(|code| !code.is_empty());
        match primary.map(find).transpose()? {
            Some(primary) if there.is_empty() || there.contains(&primary) => regions.push(primary),
            None if there.is_empty() => regions.push(cloud.regions().default_region().clone()),
            _ => {}
        }
        regions.extend(there.into_iter().cloned());
    }
    let mut seen = BTreeSet::new();
    regions.retain(|region| seen.insert(region.clone()));
    Ok(regions)
}

async fn record(
    cloud: &Cloud,
    access: &AppAccess,
    before: &Release,
    options: Options,
    description: String,
) -> Result<mayfly_wire::Release, ApiError> {
    let secrets = cloud.store.app_secrets(access.app.id).await?;
    let new = NewRelease {
        id: ReleaseId::from_random(cloud.entropy.bytes()),
        app_id: access.app.id,
        config: before.config.clone(),
        image: before.image.clone(),
        secrets_version: secrets.version,
        options: json!(&options),
        description,
        owner: access.caller.name(),
    };
    let position = cloud.store.newest_event().await?;
    let by = access.caller.by(cloud);
    let release = cloud
        .record_release(new, options, &access.allowance(), by)
        .await?;
    Ok(created(release, position))
}
