//! `/v1/apps/<app>/releases`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_appconfig::AppConfig;
use mayfly_control_store::{By, MachineFilter, NewRelease, Release, ReleaseStatus, StoreError};
use mayfly_types::{EventSeq, ImageRef, Region, ReleaseId};
use mayfly_wire::{CreateRelease, RollbackRelease};
use serde_json::{Value, json};

use super::content::group_of;
use super::options::Options;
use super::view::{summary, whole};
use crate::access::{Allowance, AppAccess};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

/// Releases in one answer, unless the caller says otherwise.
const LISTED: i64 = 25;
const LISTED_MAX: i64 = 1000;
/// So far back a rollback looks by itself.
const LOOKED_BACK: u32 = 1000;
const DESCRIPTION_MAX: usize = 500;

/// `GET …/releases?limit=`: newest first.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<mayfly_wire::Release>>, ApiError> {
    query.only(&["limit"])?;
    let limit = query.number("limit", 1, LISTED_MAX)?.unwrap_or(LISTED);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let releases = cloud.store.releases(access.app.id, limit).await?;
    Ok(Json(releases.into_iter().map(summary).collect()))
}

/// `GET …/releases/<version>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path((_, version)): Path<(String, String)>,
) -> Result<Json<mayfly_wire::Release>, ApiError> {
    let release = named(&cloud, &access, &version).await?;
    let store = &cloud.store;
    let secrets = store.app_secrets_at(access.app.id, release.secrets_version);
    let secrets = secrets.await?.into_iter();
    let mut machines: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for count in store.release_counts(release.id).await? {
        let group = machines.entry(count.group).or_default();
        group.insert(count.region.to_string(), count.machines);
    }
    Ok(Json(mayfly_wire::Release {
        secrets: Some(
            secrets
                .map(|secret| (secret.name.to_string(), secret.digest))
                .collect(),
        ),
        machines: Some(machines),
        ..whole(release)
    }))
}

/// `POST …/releases`: records what the app shall be. The answer comes at once; the deployment follows and needs nobody.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<CreateRelease>,
) -> Result<(StatusCode, Json<mayfly_wire::Release>), ApiError> {
    let before = cloud.store.complete_release(access.app.id, None).await?;
    let config = configuration(&request, before.as_ref())?;
    let parsed = config.as_ref().map(app_config).transpose()?;
    cloud
        .primary_region(parsed.as_ref())
        .map_err(|text| ApiError::invalid(format!("config.primary_region: {text}")))?;
    let mut options = Options {
        regions: regions(&cloud, &request)?,
        makes_volumes: before.is_none(),
        ..Options::of(&request, parsed.as_ref())?
    };
    cloud
        .check_reach(&access.app, &mut options, parsed.as_ref())
        .await?;
    let image = match image(&request, parsed.as_ref())? {
        Some(image) => Some(cloud.pin_image(&access.app, &image, "image").await?),
        None => before.and_then(|before| before.image),
    };
    if image.is_none() && !options.keep_config {
        return Err(ApiError::invalid(
            "image is required: neither the request, the configuration's [build] nor an earlier release names one",
        ));
    }
    let secrets = cloud.store.app_secrets(access.app.id).await?;
    let description = request.description.unwrap_or_default();
    if description.len() > DESCRIPTION_MAX {
        return Err(ApiError::invalid(format!(
            "description must have at most {DESCRIPTION_MAX} bytes"
        )));
    }
    let new = NewRelease {
        id: ReleaseId::from_random(cloud.entropy.bytes()),
        app_id: access.app.id,
        config,
        image,
        secrets_version: secrets.version,
        options: json!(&options),
        description: match description.is_empty() {
            true => "Release".to_owned(),
            false => description,
        },
        owner: access.caller.name(),
    };
    let by = access.caller.by(&cloud);
    let position = cloud.store.newest_event().await?;
    let release = cloud
        .record_release(new, options, &access.allowance(), by)
        .await?;
    Ok((StatusCode::CREATED, Json(created(release, position))))
}

/// `POST …/releases/rollback`: image, configuration and secrets of an earlier release as a new one.
pub(crate) async fn rollback(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<RollbackRelease>,
) -> Result<(StatusCode, Json<mayfly_wire::Release>), ApiError> {
    let target = match request.version {
        Some(version) => {
            let release = named(&cloud, &access, &version.to_string()).await?;
            if release.status != ReleaseStatus::Complete {
                return Err(ApiError::invalid(format!(
                    "version must be a release that was complete: v{version} is {}",
                    release.status
                )));
            }
            release
        }
        None => before_the_newest(&cloud, &access).await?,
    };
    let (owner, by) = (access.caller.name(), access.caller.by(&cloud));
    let keep_secrets = request.keep_secrets == Some(true);
    let position = cloud.store.newest_event().await?;
    let allowance = access.allowance();
    let release = cloud
        .roll_back_to(&target, keep_secrets, owner, &allowance, by)
        .await?;
    Ok((StatusCode::CREATED, Json(created(release, position))))
}

/// `POST …/releases/<version>/cancel`: machines stay as they are at that moment.
pub(crate) async fn cancel(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path((_, version)): Path<(String, String)>,
) -> Result<Json<mayfly_wire::Release>, ApiError> {
    let release = named(&cloud, &access, &version).await?;
    if !release.is_open() {
        return Err(ApiError::conflict(format!(
            "release v{} is {} already",
            release.number, release.status
        )));
    }
    if Options::of_release(&release).moves_to.is_some() {
        return Err(ApiError::conflict(format!(
            "release v{} moves the app: it ends or fails by itself",
            release.number
        )));
    }
    let reason = format!("cancelled by {}", access.caller.name());
    let by = access.caller.by(&cloud);
    let ended = cloud
        .store
        .finish_release(release.id, ReleaseStatus::Cancelled, Some(reason), by)
        .await?;
    Ok(Json(whole(ended)))
}

pub(super) fn created(release: Release, position: EventSeq) -> mayfly_wire::Release {
    mayfly_wire::Release {
        events_after: Some(position.0.unsigned_abs()),
        ..whole(release)
    }
}

async fn named(cloud: &Cloud, access: &AppAccess, version: &str) -> Result<Release, ApiError> {
    let number = version.strip_prefix('v').unwrap_or(version);
    let unknown = || {
        let text: String = version.chars().take(40).collect();
        ApiError::not_found(format!("app {} has no release {text}", access.app.name))
    };
    let number: i64 = number.parse().map_err(|_| unknown())?;
    match cloud.store.release(access.app.id, number).await {
        Err(StoreError::NotFound { .. }) => Err(unknown()),
        found => Ok(found?),
    }
}

/// The release that was live before the one that is. What only changed numbers or sizes is nothing to go back to, or from.
async fn before_the_newest(cloud: &Cloud, access: &AppAccess) -> Result<Release, ApiError> {
    let store = &cloud.store;
    let deploys = |release: &Release| !Options::of_release(release).scales();
    let mut deployed = store
        .releases(access.app.id, LOOKED_BACK)
        .await?
        .into_iter();
    let mut deployed = deployed.by_ref().filter(deploys);
    let newest = deployed.next();
    // After a failed release the last complete one is what to go back to.
    let target = deployed.find(|release| release.status == ReleaseStatus::Complete);
    newest.and(target).ok_or_else(|| {
        ApiError::invalid(format!(
            "app {} has no earlier complete release to go back to",
            access.app.name
        ))
    })
}

/// The configuration the release is to have, as it is stored.
fn configuration(
    request: &CreateRelease,
    before: Option<&Release>,
) -> Result<Option<Value>, ApiError> {
    let earlier = before.and_then(|before| before.config.clone());
    match (&request.config, request.keep_config == Some(true)) {
        (Some(_), true) => Err(ApiError::invalid(
            "config and keep_config exclude each other",
        )),
        (None, true) => Ok(earlier),
        (Some(config), false) => Ok(Some(config.clone())),
        (None, false) if earlier.is_some() => Ok(earlier),
        (None, false) => Err(ApiError::invalid(
            "config is required for an app's first release",
        )),
    }
}

pub(crate) fn app_config(value: &Value) -> Result<AppConfig, ApiError> {
    AppConfig::from_value(value).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        ApiError::invalid(format!("config: {}", problems.join("; ")))
    })
}

/// The regions named, each once.
fn regions(cloud: &Cloud, request: &CreateRelease) -> Result<Vec<Region>, ApiError> {
    let named = request.regions.iter().flatten();
    let mut regions: Vec<Region> = Vec::new();
    for code in named.filter(|code| !code.is_empty()) {
        let found = cloud.regions().find(code);
        let region = found.map_err(|text| ApiError::invalid(format!("regions: {text}")))?;
        if !regions.contains(&region) {
            regions.push(region);
        }
    }
    let only_changes = [
        (request.update_only == Some(true), "update_only"),
        (request.keep_config == Some(true), "keep_config"),
        (
            request.only_machines.iter().flatten().next().is_some(),
            "only_machines",
        ),
    ];
    match only_changes
        .iter()
        .find(|(is_so, _)| *is_so && !regions.is_empty())
    {
        Some((_, field)) => Err(ApiError::invalid(format!(
            "regions makes machines, {field} makes none: give one of them"
        ))),
        None => Ok(regions),
    }
}

fn image(
    request: &CreateRelease,
    config: Option<&AppConfig>,
) -> Result<Option<ImageRef>, ApiError> {
    let of_config = config.and_then(|config| config.build.as_ref()?.image.as_deref());
    let named = request.image.as_deref().or(of_config);
    named
        .filter(|text| !text.is_empty())
        .map(str::parse)
        .transpose()
        .map_err(|error| ApiError::invalid(format!("image: {error}")))
}

impl Cloud {
    pub(super) async fn record_release(
        &self,
        new: NewRelease,
        options: Options,
        allowance: &Allowance,
        by: By,
    ) -> Result<Release, ApiError> {
        self.check_volumes(&new, &options).await?;
        let images = new.image.iter().map(|image| self.named(image));
        let regions = self.regions_of(&new, &options).await?;
        allowance.permit(images, regions)?;
        let contains = move |older: &Release| options.contain(&Options::of_release(older));
        Ok(self.store.create_release(new, contains, by).await?)
    }

    /// Where a release makes or changes machines.
    async fn regions_of(
        &self,
        new: &NewRelease,
        options: &Options,
    ) -> Result<BTreeSet<Region>, ApiError> {
        if !options.scale.is_empty() {
            let targets = options.scale.iter();
            return Ok(targets.map(|target| target.region.clone()).collect());
        }
        let filter = MachineFilter {
            app: Some(new.app_id),
            ..MachineFilter::default()
        };
        let mut regions: BTreeSet<Region> = options.regions.iter().cloned().collect();
        for machine in self.store.machines(filter).await? {
            if options.concerns(
                machine.id.as_str(),
                machine.region.as_str(),
                &group_of(&machine),
            ) {
                regions.insert(machine.region);
            }
        }
        if regions.is_empty() {
            let primary = new.config.as_ref().and_then(|config| {
                let code = config.get("primary_region")?.as_str()?;
                self.regions().find(code).ok()
            });
            regions.insert(primary.unwrap_or_else(|| self.regions().default_region().clone()));
        }
        Ok(regions)
    }

    /// Records the content of an earlier release as a new one.
    pub(super) async fn roll_back_to(
        &self,
        target: &Release,
        keep_secrets: bool,
        owner: String,
        allowance: &Allowance,
        by: By,
    ) -> Result<Release, ApiError> {
        let secrets = match keep_secrets {
            true => self.store.app_secrets(target.app_id).await?,
            false => {
                let version = target.secrets_version;
                self.store
                    .restore_secrets(target.app_id, version, by.clone())
                    .await?
            }
        };
        let options = Options::of_release(target);
        let options = Options {
            // What the old release had done to data is not done again.
            skip_release_command: true,
            auto_rollback: false,
            // What is gone back to is what it was, not what it changed.
            inherits: false,
            makes_volumes: false,
            keep_config: target.config.is_none(),
            regions: Vec::new(),
            scale: Vec::new(),
            guest: None,
            concurrency: None,
            moves_to: None,
            ..options
        };
        let new = NewRelease {
            id: ReleaseId::from_random(self.entropy.bytes()),
            app_id: target.app_id,
            config: target.config.clone(),
            image: target.image.clone(),
            secrets_version: secrets.version,
            options: json!(&options),
            description: format!("Rollback to v{}", target.number),
            owner,
        };
        self.record_release(new, options, allowance, by).await
    }
}
