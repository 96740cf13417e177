//! `/v1/apps/<app>/move`: another organization for an app, as a release.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_control_store::NewRelease;
use mayfly_deploy::Strategy;
use mayfly_machine::Rights;
use mayfly_types::ReleaseId;
use mayfly_wire::MoveApp;
use serde_json::json;

use super::api::created;
use super::options::{Options, millis};
use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// `POST …/move`: copies of all machines are made in the other organization's network; when they are up the app changes
/// hands, requests go to them, and the old machines go.
pub(crate) async fn move_app(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<MoveApp>,
) -> Result<(StatusCode, Json<mayfly_wire::Release>), ApiError> {
    let slug = request.org_slug.filter(|slug| !slug.is_empty());
    let slug = slug.ok_or_else(|| ApiError::invalid("org_slug is required"))?;
    let org = access.caller.org_called(&slug)?;
    if org.id == access.app.org_id {
        return Err(ApiError::invalid(format!(
            "org_slug: app {} is in organization {} already",
            access.app.name, org.slug
        )));
    }
    let machines = cloud.machines_of(&access.app, false).await?;
    if machines
        .iter()
        .any(|machine| machine.spec.rights != Rights::Ordinary)
    {
        return Err(ApiError::invalid(format!(
            "app {} holds the organization's builder, which stays with it",
            access.app.name
        )));
    }
    if let Some(machine) = machines.iter().find(|one| !one.spec.mounts.is_empty()) {
        return Err(ApiError::invalid(format!(
            "app {} has machines with volumes ({}), which copies of them would need: they stay where they are",
            access.app.name, machine.id
        )));
    }
    let skip = request.skip_health_checks == Some(true);
    let wait = request.wait_timeout.map(|wait| wait.0);
    let options = Options {
        strategy: Strategy::BlueGreen.to_string(),
        wait_timeout_ms: millis("wait_timeout", wait)?,
        moves_to: Some(org.id),
        skip_checks: skip,
        skip_smoke_checks: skip,
        ..Options::of_scaling()
    };
    let secrets = cloud.store.app_secrets(access.app.id).await?;
    let before = cloud.store.complete_release(access.app.id, None).await?;
    let (config, image) = before.map_or((None, None), |before| (before.config, before.image));
    let new = NewRelease {
        id: ReleaseId::from_random(cloud.entropy.bytes()),
        app_id: access.app.id,
        config,
        image,
        secrets_version: secrets.version,
        options: json!(&options),
        description: format!("Move to organization {}", org.slug),
        owner: access.caller.name(),
    };
    let position = cloud.store.newest_event().await?;
    let by = access.caller.by(&cloud);
    let release = cloud
        .record_release(new, options, &access.allowance(), by)
        .await?;
    Ok((StatusCode::CREATED, Json(created(release, position))))
}
