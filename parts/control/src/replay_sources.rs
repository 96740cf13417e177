//! Whose apps may replay requests to an organization's apps, as its admins grant it. The organization as its own source
//! lets its networks replay to each other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::Org;
use mayfly_types::OrgId;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;

/// `GET /v1/orgs/<slug>/replay_sources`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    shown(&cloud, org).await
}

/// `PUT /v1/orgs/<slug>/replay_sources/<source>`.
pub(crate) async fn add(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, source)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let (org, source) = (caller.org_called(&slug)?, caller.org_named(&source)?.id);
    cloud
        .store
        .add_replay_source(org.id, source, caller.by(&cloud))
        .await?;
    shown(&cloud, org).await
}

/// `DELETE /v1/orgs/<slug>/replay_sources/<source>`, also for a source that the caller cannot see any more.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, source)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let granted = cloud.store.replay_sources(org.id).await?;
    if let Some(source) = granted.iter().find(|other| other.slug.as_str() == source) {
        cloud
            .store
            .remove_replay_source(org.id, source.id, caller.by(&cloud))
            .await?;
    }
    shown(&cloud, org).await
}

async fn shown(cloud: &Cloud, org: &Org) -> Result<Json<Value>, ApiError> {
    let granted = cloud.store.replay_sources(org.id).await?;
    let own = |source: &OrgId| *source == org.id;
    let others: Vec<&str> = granted
        .iter()
        .filter(|source| !own(&source.id))
        .map(|source| source.slug.as_str())
        .collect();
    Ok(Json(json!({
        "replay_sources": others,
        "cross_network_replays": granted.iter().any(|source| own(&source.id)),
    })))
}
