use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{AuditFilter, OfApp, StoreError};
use mayfly_types::{EventSeq, Timestamp, UserId};
use serde_json::{Value, json};

use super::{LIMIT, LIMIT_MAX, app_seen, view, whole_orgs};
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// `GET /v1/orgs/<slug>/audit`: who changed what in an organization, newest first.
pub(crate) async fn audit(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    query.only(&["before", "limit", "app", "actor", "kind", "since", "all"])?;
    let org = caller.org_called(&slug)?;
    let mut whole = whole_orgs(&caller);
    whole.retain(|id| *id == org.id);
    let app = app_seen(&cloud, &caller, &whole, &query).await?;
    if !matches!(app, Some(OfApp::Id(_))) {
        caller.whole_org(org)?;
    }
    let actor = match query.text("actor") {
        Some(email) => Some(actor(&cloud, email).await?),
        None => None,
    };
    let limit = query.number("limit", 1, LIMIT_MAX)?;
    let limit = limit.map_or(LIMIT, |limit| u32::try_from(limit).unwrap_or(LIMIT));
    let filter = AuditFilter {
        org: org.id,
        app,
        // Whoever names the cloud itself wants to see what it did.
        asked: actor.is_none() && query.text("all") != Some("true"),
        actor,
        kinds: query.text("kind").map(str::to_owned),
        since: query.parsed::<Timestamp>("since")?,
        before: query.number("before", 1, i64::MAX)?.map(EventSeq),
    };
    let events = cloud.store.audit(filter, limit).await?;
    let next = events.last().map(|event| event.seq.0);
    let mut names = BTreeMap::new();
    let mut entries = Vec::new();
    for event in events {
        let name = match names.get(&event.actor) {
            Some(name) => String::clone(name),
            None => {
                let name = name_of(&cloud, &event.actor).await?;
                names.insert(event.actor.clone(), name.clone());
                name
            }
        };
        let mut entry = json!(view(&caller, event));
        entry["actor_name"] = Value::String(name);
        entries.push(entry);
    }
    Ok(Json(json!({ "entries": entries, "next_before": next })))
}

/// An actor as the log has it, from the e-mail address or from the log's own word.
async fn actor(cloud: &Cloud, given: &str) -> Result<String, ApiError> {
    if given.contains(':') || given == "platform" || given == "autoscaler" {
        return Ok(given.to_owned());
    }
    match cloud.store.user_by_email(given.to_owned()).await {
        Ok(user) => Ok(format!("user:{}", user.id)),
        Err(StoreError::NotFound { .. }) => Err(ApiError::not_found(format!(
            "there is no user {given}: name an e-mail address, \"machine:<id>\", \"autoscaler\" or \"platform\""
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The address of a user; anything else is called what the log calls it.
async fn name_of(cloud: &Cloud, actor: &str) -> Result<String, ApiError> {
    let user = actor.strip_prefix("user:");
    let Some(id) = user.and_then(|id| id.parse::<UserId>().ok()) else {
        return Ok(actor.to_owned());
    };
    match cloud.store.user(id).await {
        Ok(user) => Ok(user.email),
        Err(StoreError::NotFound { .. }) => Ok(actor.to_owned()),
        Err(error) => Err(error.into()),
    }
}
