//! `GET /v1/events`: the one event log, by page or as it grows.

mod audit;
mod stream;

pub(crate) use audit::audit;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use mayfly_control_store::{Event, EventFilter};
use mayfly_types::{AppId, AppName, EventSeq, MachineId};
use mayfly_wire::{EventPage, LoggedEvent};
use tokio::time::Instant;

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

const LIMIT: u32 = 100;
const LIMIT_MAX: i64 = 1000;
/// Seconds.
const WAIT_MAX: i64 = 60;

/// Where and what a reader reads.
struct Reading {
    after: EventSeq,
    filter: EventFilter,
    limit: u32,
}

/// A page after `after`; as server-sent events when the caller accepts them. With `wait` (seconds) an empty page is held
/// back until there is something to say.
pub(crate) async fn read(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    query.only(&["after", "limit", "app", "machine", "wait"])?;
    let wait = query.number("wait", 0, WAIT_MAX)?.unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(wait.unsigned_abs());
    let mut reading = reading(&cloud, &caller, &query).await?;
    let wants = |name: &http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if wants(&header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        // A browser that reconnects says where it was.
        let last = headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok()?.parse().ok());
        if let Some(seq) = last {
            reading.after = EventSeq(seq);
        } else if query.text("after").is_none() {
            reading.after = cloud.store.newest_event().await?;
        }
        return Ok(stream::stream(cloud, caller, reading).into_response());
    }
    let mut newest = cloud.store.watch();
    let events = loop {
        newest.borrow_and_update();
        let filter = reading.filter.clone();
        let events = cloud
            .store
            .events_after(reading.after, filter, reading.limit)
            .await?;
        if !events.is_empty() {
            break events;
        }
        tokio::select! {
            Ok(()) = newest.changed() => {}
            () = cloud.stop.cancelled() => break events,
            () = tokio::time::sleep_until(deadline) => break events,
        }
    };
    let next = events.last().map_or(reading.after, |event| event.seq);
    let events = events.into_iter().map(|event| view(&caller, event));
    Ok(Json(EventPage {
        events: events.collect(),
        next: next.0,
    })
    .into_response())
}

async fn reading(cloud: &Cloud, caller: &Caller, query: &Query) -> Result<Reading, ApiError> {
    let after = query.number("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1, LIMIT_MAX)?;
    let machine: Option<MachineId> = query.parsed("machine")?;
    let app = app_seen(cloud, caller, query).await?;
    if app.is_none() {
        for membership in &caller.orgs {
            caller.whole_org(&membership.org)?;
        }
    }
    Ok(Reading {
        after: EventSeq(after),
        filter: EventFilter {
            orgs: Some(caller.org_ids()),
            app,
            machine,
            kinds: None,
        },
        limit: limit.map_or(LIMIT, |limit| u32::try_from(limit).unwrap_or(LIMIT)),
    })
}

/// The app of `?app=`, which the caller may see.
async fn app_seen(
    cloud: &Cloud,
    caller: &Caller,
    query: &Query,
) -> Result<Option<AppId>, ApiError> {
    let Some(name) = query.parsed::<AppName>("app")? else {
        return Ok(None);
    };
    let unseen = || ApiError::not_found(format!("Could not find App \"{name}\""));
    let app = cloud.store.app(name.clone()).await.map_err(|_| unseen())?;
    match caller.sees_app(&app) {
        true => Ok(Some(app.id)),
        false => Err(unseen()),
    }
}

pub(crate) fn view(caller: &Caller, event: Event) -> LoggedEvent {
    let org = event.org.and_then(|id| caller.org(id));
    LoggedEvent {
        seq: event.seq.0,
        at: event.at,
        actor: event.actor,
        kind: event.kind,
        org: org.map(|org| org.slug.to_string()),
        app: event.app_name.map(|name| name.to_string()),
        machine_id: event.machine_id.map(|id| id.to_string()),
        cause: event.cause.unwrap_or_default(),
        before: event.before.unwrap_or_default(),
        after: event.after.unwrap_or_default(),
    }
}
