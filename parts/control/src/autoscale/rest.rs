//! `/v1/apps/<app>/autoscale`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_appconfig::AppConfig;
use mayfly_control_store::{AutoscaleAction, AutoscaleChange, AutoscaleRule, NewAutoscaleRule};
use mayfly_deploy::{FULL, Load, Standing};
use mayfly_types::Region;
use mayfly_wire::{Autoscale, SetAutoscale};

use super::{Group, key, key_of_change};
use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;
use crate::releases::{app_config, counts_in, group_of};

/// As many as `scale count` makes.
const MACHINES_MAX: i64 = 1000;

/// `GET …/autoscale`: the app's rules, and how their machines stand.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<Autoscale>>, ApiError> {
    query.only(&[])?;
    Ok(Json(shown(&cloud, &access).await?))
}

/// `PUT …/autoscale`: sets the bounds of a group, in all its regions together or in each of those named.
pub(crate) async fn set(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<SetAutoscale>,
) -> Result<Json<Vec<Autoscale>>, ApiError> {
    let bound = |field: &str, value: Option<i64>, least: i64| {
        let given = value.ok_or_else(|| ApiError::invalid(format!("{field} is required")))?;
        let fits = (least..=MACHINES_MAX).contains(&given);
        let number = usize::try_from(given).ok().filter(|_| fits);
        number.ok_or_else(|| {
            ApiError::invalid(format!(
                "{field} must be a number from {least} to {MACHINES_MAX}, got {given}"
            ))
        })
    };
    let (min, max) = (bound("min", request.min, 0)?, bound("max", request.max, 1)?);
    if min > max {
        return Err(ApiError::invalid(format!(
            "min must be at most max, got {min} and {max}"
        )));
    }
    let group = group(&cloud, &access, request.process_group.as_deref()).await?;
    let mut regions = BTreeSet::new();
    for code in request
        .regions
        .iter()
        .flatten()
        .filter(|code| !code.is_empty())
    {
        let found = cloud.regions().find(code);
        regions.insert(found.map_err(|text| ApiError::invalid(format!("regions: {text}")))?);
    }
    let scopes: Vec<Option<Region>> = match regions.is_empty() {
        true => vec![None],
        false => regions.into_iter().map(Some).collect(),
    };
    let rules = scopes.into_iter().map(|region| NewAutoscaleRule {
        group: group.clone(),
        region,
        min,
        max,
    });
    let by = access.caller.by(&cloud);
    let store = &cloud.store;
    store
        .set_autoscale_rules(access.app.id, rules.collect(), by)
        .await?;
    Ok(Json(shown(&cloud, &access).await?))
}

/// `DELETE …/autoscale?process_group=&region=`: takes the app's rules away, or those named. The machines stay.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<Autoscale>>, ApiError> {
    query.only(&["process_group", "region"])?;
    let group = query.text("process_group");
    let regions: Vec<&str> = query
        .all("region")
        .filter(|code| !code.is_empty())
        .collect();
    let mut rules = cloud.store.autoscale_rules(Some(access.app.id)).await?;
    rules.retain(|rule| {
        let code = rule.region.as_ref().map(Region::as_str);
        let named = regions.is_empty() || code.is_some_and(|code| regions.contains(&code));
        named && group.is_none_or(|group| rule.group == group)
    });
    if rules.is_empty() && (group.is_some() || !regions.is_empty()) {
        return Err(ApiError::not_found(format!(
            "app {} has no such rule: GET …/autoscale shows those it has",
            access.app.name
        )));
    }
    let by = access.caller.by(&cloud);
    cloud
        .store
        .remove_autoscale_rules(access.app.id, rules, by)
        .await?;
    Ok(Json(shown(&cloud, &access).await?))
}

/// The group named, or the app's default one; it has to serve something, since load is what edges see.
async fn group(cloud: &Cloud, access: &AppAccess, named: Option<&str>) -> Result<String, ApiError> {
    let release = cloud.store.complete_release(access.app.id, None).await?;
    let release = release.ok_or_else(|| {
        ApiError::invalid(format!(
            "app {} has no complete release: deploy it first",
            access.app.name
        ))
    })?;
    let config = release.config.as_ref().map(app_config).transpose()?;
    let config: AppConfig = config.unwrap_or_default();
    let group = match named.filter(|group| !group.is_empty()) {
        Some(group) => group.to_owned(),
        None => config.default_group().to_owned(),
    };
    let machines = cloud.machines_of(&access.app, false).await?;
    let mut known: BTreeSet<String> = config.groups().into_iter().map(str::to_owned).collect();
    known.extend(
        machines
            .iter()
            .filter(|one| counts_in(one, &group_of(one)))
            .map(group_of),
    );
    if !known.contains(&group) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(ApiError::invalid(format!(
            "process_group: \"{group}\" does not exist: use {}",
            known.join(", ")
        )));
    }
    let mut of_group = machines
        .iter()
        .filter(|one| counts_in(one, &group))
        .peekable();
    let serves = match of_group.peek() {
        Some(_) => of_group.any(|one| !one.spec.services.is_empty()),
        None => config.has_services(&group),
    };
    match serves {
        true => Ok(group),
        false => Err(ApiError::invalid(format!(
            "process_group: \"{group}\" serves no requests, so that nobody knows its load: use `scale count`"
        ))),
    }
}

async fn shown(cloud: &Cloud, access: &AppAccess) -> Result<Vec<Autoscale>, ApiError> {
    let rules = cloud.store.autoscale_rules(Some(access.app.id)).await?;
    let changes = cloud.store.autoscale_changes().await?;
    let seen = cloud.autoscale.seen().clone();
    let shown = rules.into_iter().map(|rule| {
        let key = key(&rule);
        let change = changes.iter().find(|change| key_of_change(change) == key);
        view(rule, seen.get(&key), change)
    });
    Ok(shown.collect())
}

fn view(rule: AutoscaleRule, group: Option<&Group>, change: Option<&AutoscaleChange>) -> Autoscale {
    let machines = group
        .map(|group| group.machines.as_slice())
        .unwrap_or_default();
    let count = |is: &dyn Fn(&mayfly_deploy::Scaled) -> bool| {
        machines.iter().filter(|machine| is(machine)).count()
    };
    let running = count(&|machine| machine.standing == Standing::Running);
    let load: u64 = machines.iter().map(|machine| machine.load).sum();
    let known = group.is_some_and(|group| group.load != Load::Unknown);
    Autoscale {
        process_group: rule.group,
        region: rule.region.map(|region| region.to_string()),
        min: rule.min,
        max: rule.max,
        machines: machines.len(),
        running,
        created: count(&|machine| machine.ours),
        load_percent: (known && running > 0)
            .then(|| load * 100 / (u64::try_from(running).unwrap_or(1) * FULL)),
        under_way: change.map(|change| {
            let doing = match change.action {
                AutoscaleAction::Grow => "creating",
                AutoscaleAction::Shrink => "destroying",
            };
            format!(
                "{doing} machine {} in {} ({})",
                change.machine_id, change.region, change.reason
            )
        }),
        changed_at: rule.changed_at.map(|at| at.to_string()),
        last_change: rule.last_change,
    }
}
