use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::EventFilter;
use mayfly_types::EventSeq;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::event_log::view;
use crate::http::query::Query;

const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 1000;

/// `GET /v1/orgs/<slug>/ssh/log`: the certificates that were issued and the sessions that began, oldest first, and the
/// public key of the authority.
pub(crate) async fn log(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    query.only(&["after", "limit"])?;
    let org = caller.org_called(&slug)?;
    caller.whole_org(org)?;
    let after = query.number("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
    let filter = EventFilter {
        orgs: Some(vec![org.id]),
        kinds: Some("ssh."),
        ..EventFilter::default()
    };
    let limit = u32::try_from(limit).expect("held to its limits");
    let events = cloud
        .store
        .events_after(EventSeq(after), filter, limit)
        .await?;
    let next = events.last().map_or(after, |event| event.seq.0);
    let authority = cloud.store.ssh_authority(org.id).await?;
    let entries: Vec<_> = events
        .into_iter()
        .map(|event| view(&caller, event))
        .collect();
    Ok(Json(json!({
        "authority": authority.map(|authority| authority.public_key),
        "entries": entries,
        "next": next,
    })))
}
