//! `/v1/apps`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use mayfly_control_store::{App, AppFilter, AppStatus, NewApp, StoreError};
use mayfly_types::{AppId, AppName, Digest};
use mayfly_wire::{AppOrganization, CreateApp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::access::{AppAccess, Caller};
use crate::app_expiry;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::given_name::given_name;
use crate::http::body::JsonBody;
use crate::http::idempotency::idempotency_key;
use crate::http::query::Query;

const NETWORK_MAX: usize = 63;
/// The registry's own name below the domain, and what repositories of its mirror begin with.
const RESERVED: [&str; 3] = ["registry", "mirror", "library"];

/// `POST /v1/apps`.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CreateApp>,
) -> Result<Response, ApiError> {
    let digest = Sha256::digest(serde_json::to_vec(&request).unwrap_or_default());
    let key = idempotency_key(
        &cloud,
        format!("{}:apps", caller.key()),
        &headers,
        request.idempotency_key.as_deref(),
        Digest::from_sha256(digest.into()),
    )?;
    let slug = request.org_slug.as_deref().unwrap_or("personal");
    let org = caller.org_called(slug)?;
    let given = match (request.app_name.as_deref(), request.name.as_deref()) {
        (Some(one), Some(other)) if !one.is_empty() && !other.is_empty() && one != other => {
            return Err(ApiError::invalid(
                "app_name and name mean the same: give one of them",
            ));
        }
        (one, other) => [one, other]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .map(str::to_owned),
    };
    let name = given.unwrap_or_else(|| given_name(cloud.entropy.as_ref()));
    let name: AppName = name
        .parse()
        .map_err(|error| ApiError::invalid(format!("app_name: {error}")))?;
    if RESERVED.contains(&name.as_str()) {
        return Err(ApiError::invalid(format!(
            "app_name: {name} is a name of the cloud itself"
        )));
    }
    let network = request.network.filter(|name| !name.is_empty());
    if network
        .as_ref()
        .is_some_and(|name| name.len() > NETWORK_MAX || name.contains(char::is_control))
    {
        return Err(ApiError::invalid(format!(
            "network: use 1 to {NETWORK_MAX} characters that can be printed"
        )));
    }
    let new = NewApp {
        id: AppId::from_random(cloud.entropy.bytes()),
        name: name.clone(),
        org_id: org.id,
        network,
        role: request.app_role_id.unwrap_or_default(),
        expires_at: app_expiry::end(request.ttl, cloud.now())?,
    };
    match cloud
        .store
        .create_app_once(new, key, caller.by(&cloud))
        .await
    {
        Ok(app) => Ok((StatusCode::CREATED, Json(view(&cloud, &app))).into_response()),
        Err(StoreError::Taken { .. }) => Err(ApiError::invalid(format!(
            "Validation failed: Name has already been taken: {name}"
        ))
        .coded("name_taken")),
        Err(error) => Err(error.into()),
    }
}

/// `GET /v1/apps`: an array of every app the caller sees, or, with `org_slug`, an object for one organization.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    query: Query,
) -> Result<Response, ApiError> {
    query.only(&["org_slug", "app_role"])?;
    let role = query.text("app_role").map(str::to_owned);
    let Some(slug) = query.text("org_slug") else {
        let orgs = Some(caller.org_ids());
        let apps = cloud.store.apps(AppFilter { orgs, role }).await?;
        let seen = apps.iter().filter(|app| caller.sees_app(app));
        let apps: Vec<_> = seen.map(|app| view(&cloud, app)).collect();
        return Ok(Json(apps).into_response());
    };
    let orgs = Some(vec![caller.org_called(slug)?.id]);
    let apps = cloud.store.apps(AppFilter { orgs, role }).await?;
    let seen = apps.iter().filter(|app| caller.sees_app(app));
    let apps: Vec<_> = seen.map(|app| view(&cloud, app)).collect();
    Ok(Json(json!({ "total_apps": apps.len(), "apps": apps })).into_response())
}

/// `GET /v1/apps/<app>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
) -> Json<mayfly_wire::App> {
    Json(view(&cloud, &access.app))
}

/// `DELETE /v1/apps/<app>`: destroys the app's machines and the app.
///
/// Running machines refuse it unless `force` is set. The upstream client asks its user first and then sends no
/// `force`, so it counts as having sent it.
pub(crate) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    headers: HeaderMap,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let asked_already = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with("flyctl/"));
    let force = query.flag("force")? || asked_already;
    cloud
        .destroy_app(&access.app, force, &access.caller.by(&cloud))
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// An app as the API shows it.
pub(crate) fn view(cloud: &Cloud, app: &App) -> mayfly_wire::App {
    let status = match app.status {
        AppStatus::Pending if app.machine_count > 0 => AppStatus::Deployed,
        status => status,
    };
    mayfly_wire::App {
        id: app.id.to_string(),
        created_at: app.created_at.as_millis(),
        name: app.name.to_string(),
        internal_numeric_id: i32::try_from(app.numeric_id).unwrap_or(i32::MAX),
        network: app.network_name.clone(),
        status: status.to_string(),
        machine_count: usize::try_from(app.machine_count).unwrap_or(0),
        volume_count: usize::try_from(app.volume_count).unwrap_or(0),
        organization: AppOrganization {
            name: app.org_name.clone(),
            slug: app.org_slug.to_string(),
            internal_numeric_id: app.org_numeric_id.unsigned_abs(),
        },
        cname_target: cloud.settings.hostname(app.name.as_str()),
        app_role: app.role.clone(),
        hostname: cloud.settings.hostname(app.name.as_str()),
        app_url: cloud.settings.app_url(app.name.as_str()),
        expires_at: app.expires_at,
    }
}
