//! `/v1/apps/<app>/volumes`: <https://fly.io/docs/machines/api/volumes-resource/>.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{Volume, VolumeFilter, VolumeState, VolumeUpdate};
use mayfly_host_api::{Filesystem, HostError};
use mayfly_types::{Region, Timestamp, VolumeId};
use mayfly_wire::{AppVolume, CreateVolume, ExtendVolume, ExtendedVolume, UpdateVolume};
use serde_json::Value;

use super::make::{Apart, VolumeWish};
use super::size::{check_name, size_gb};
use crate::access::{AppAccess, Caller, VolumeAccess};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::org_page::OrgPage;
use crate::http::query::Query;

/// As documented.
const SIZE_GB: i64 = 3;

/// How long the data of a destroyed volume is kept, as documented.
const KEPT: Duration = Duration::from_secs(24 * 3600);

const NO_SNAPSHOTS: &str = "this cloud makes no snapshots of volumes yet";

/// `GET …/volumes`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<AppVolume>>, ApiError> {
    query.only(&["region", "state", "summary"])?;
    let filter = VolumeFilter {
        app: Some(access.app.id),
        ..filter(&query)?
    };
    let volumes = cloud.store.volumes(filter).await?;
    Ok(Json(cloud.show_volumes(volumes).await?))
}

/// `GET /v1/orgs/<slug>/volumes`: every volume of an organization, by page.
pub(crate) async fn of_org(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let own = ["include_deleted", "region", "state", "summary"];
    query.only(&[&own[..], &OrgPage::<VolumeId>::PARAMETERS].concat())?;
    let org = caller.org_called(&slug)?;
    caller.whole_org(org)?;
    let page = OrgPage::asked_for(&query)?;
    let volumes = cloud
        .store
        .volumes(VolumeFilter {
            org: Some(org.id),
            updated_since: page.updated_since,
            after: page.after,
            limit: Some(page.limit),
            ..filter(&query)?
        })
        .await?;
    let marks: Vec<(VolumeId, Timestamp)> = volumes
        .iter()
        .map(|volume| (volume.id, volume.updated_at))
        .collect();
    let apps: Vec<Option<String>> = volumes
        .iter()
        .map(|volume| volume.app_name.as_ref().map(ToString::to_string))
        .collect();
    let mut shown = cloud.show_volumes(volumes).await?;
    for (volume, app) in shown.iter_mut().zip(apps) {
        volume.app_name = app;
    }
    Ok(Json(page.answer("volumes", &shown, &marks)))
}

fn filter(query: &Query) -> Result<VolumeFilter, ApiError> {
    let region: Option<Region> = query.parsed("region")?;
    let mut states: Vec<VolumeState> = Vec::new();
    for text in query.all("state").flat_map(|text| text.split(',')) {
        let state = text.parse();
        states.push(
            state.map_err(|text| {
                ApiError::unreadable(format!("query parameter \"state\": {text}"))
            })?,
        );
    }
    Ok(VolumeFilter {
        region,
        states,
        ..VolumeFilter::default()
    })
}

/// `POST …/volumes`: the answer comes once the volume's host has it in its journal.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<CreateVolume>,
) -> Result<Json<AppVolume>, ApiError> {
    let name = request.name.unwrap_or_default();
    check_name("name", &name)?;
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if given(&request.snapshot_id) {
        return Err(ApiError::invalid(format!("snapshot_id: {NO_SNAPSHOTS}")));
    }
    if given(&request.source_volume_id) {
        return Err(ApiError::invalid(
            "source_volume_id: this cloud makes no copies of volumes yet",
        ));
    }
    let region = match request.region.filter(|code| !code.is_empty()) {
        None => cloud.home_of(&access.app).await?,
        Some(code) => cloud
            .regions()
            .find(&code)
            .map_err(|text| ApiError::invalid(format!("region: {text}")))?,
    };
    access.allowance().permit([], [region.clone()])?;
    let filesystem = match request.fstype.as_deref() {
        None | Some("" | "ext4") => Filesystem::Ext4,
        Some("raw") => Filesystem::Raw,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "fstype must be one of ext4, raw, got \"{}\"",
                other.chars().take(40).collect::<String>()
            )));
        }
    };
    let wish = VolumeWish {
        size_gb: size_gb("size_gb", request.size_gb.unwrap_or(SIZE_GB))?,
        filesystem,
        snapshot_retention: request.snapshot_retention.map(retention).transpose()?,
        scheduled_snapshots: request.auto_backup_enabled,
    };
    let apart = match (request.require_unique_zone, request.unique_zone_app_wide) {
        (Some(false), _) => Apart::No,
        (_, Some(true)) => Apart::FromAll,
        _ => Apart::FromNamesakes,
    };
    let by = access.caller.by(&cloud);
    let operation = {
        let (cloud, app) = (cloud.clone(), access.app);
        async move {
            cloud
                .make_volume(&app, &name, &region, &wish, apart, &by)
                .await
        }
    };
    let volume = cloud.finish(operation).await?;
    Ok(Json(cloud.show_volume(volume).await?))
}

/// `GET …/volumes/<id>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: VolumeAccess,
) -> Result<Json<AppVolume>, ApiError> {
    Ok(Json(cloud.show_volume(access.volume).await?))
}

/// `PUT …/volumes/<id>`: what becomes of snapshots.
pub(crate) async fn update(
    State(cloud): State<Arc<Cloud>>,
    access: VolumeAccess,
    JsonBody(request): JsonBody<UpdateVolume>,
) -> Result<Json<AppVolume>, ApiError> {
    let update = VolumeUpdate {
        snapshot_retention: request.snapshot_retention.map(retention).transpose()?,
        scheduled_snapshots: request.auto_backup_enabled,
    };
    let by = access.caller.by(&cloud);
    let store = &cloud.store;
    let volume = store.update_volume(access.volume.id, update, by).await?;
    Ok(Json(cloud.show_volume(volume).await?))
}

/// `DELETE …/volumes/<id>`: nobody can use the volume from now on; its data goes a day later. Twice is once.
pub(crate) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    access: VolumeAccess,
) -> Result<Json<AppVolume>, ApiError> {
    if let Some(machine) = access.volume.machine_id {
        return Err(ApiError::conflict(format!(
            "volume {} is attached to machine {machine}: destroy the machine first, or deploy it without the volume",
            access.volume.id
        )));
    }
    let by = access.caller.by(&cloud);
    let destroy_at = cloud.now() + KEPT;
    let store = &cloud.store;
    let volume = store
        .destroy_volume(access.volume.id, destroy_at, by)
        .await?;
    Ok(Json(cloud.show_volume(volume).await?))
}

/// `POST …/volumes/<id>/restore` (Mayfly's own): takes a deletion back as long as the data is there.
pub(crate) async fn restore(
    State(cloud): State<Arc<Cloud>>,
    access: VolumeAccess,
) -> Result<Json<AppVolume>, ApiError> {
    let by = access.caller.by(&cloud);
    let volume = cloud.store.restore_volume(access.volume.id, by).await?;
    Ok(Json(cloud.show_volume(volume).await?))
}

/// `PUT …/volumes/<id>/extend`.
pub(crate) async fn extend(
    State(cloud): State<Arc<Cloud>>,
    access: VolumeAccess,
    JsonBody(request): JsonBody<ExtendVolume>,
) -> Result<Json<ExtendedVolume>, ApiError> {
    let wanted = request.size_gb.ok_or_else(|| {
        ApiError::invalid("size_gb is required: what the volume shall have then, in GB")
    })?;
    let wanted = size_gb("size_gb", wanted)?;
    let Volume {
        id, size_gb: has, ..
    } = access.volume;
    if wanted < has {
        return Err(ApiError::invalid(format!(
            "size_gb: volume {id} has {has} GB and cannot get smaller. Create a smaller one, copy the data, and destroy this one"
        )));
    }
    let by = access.caller.by(&cloud);
    let operation = {
        let cloud = cloud.clone();
        async move {
            let volume = cloud.store.extend_volume(id, wanted, by.clone()).await?;
            match cloud
                .host_of_volume(&volume)?
                .extend_volume(id, wanted)
                .await
            {
                Ok(extended) => {
                    let volume = cloud.store.volume_extended(id, wanted, by).await?;
                    Ok((volume, extended.needs_restart))
                }
                Err(error) => {
                    match &error {
                        HostError::Refused(_) => {
                            cloud.store.volume_not_extended(id, wanted, by).await?;
                        }
                        // Asked again until it answers.
                        _ => cloud.volume_news.notify_one(),
                    }
                    Err(error.into())
                }
            }
        }
    };
    let (volume, needs_restart) = cloud.finish(operation).await?;
    Ok(Json(ExtendedVolume {
        volume: cloud.show_volume(volume).await?,
        needs_restart,
    }))
}

/// `GET …/volumes/<id>/snapshots`: there are none.
pub(crate) async fn snapshots(_: VolumeAccess) -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// `POST …/volumes/<id>/snapshots`.
pub(crate) async fn snapshot(_: VolumeAccess) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, NO_SNAPSHOTS)
}

/// Days that snapshots are kept.
fn retention(days: i64) -> Result<i64, ApiError> {
    match days {
        1..=60 => Ok(days),
        _ => Err(ApiError::invalid(format!(
            "snapshot_retention must be a number of days from 1 to 60, got {days}"
        ))),
    }
}
