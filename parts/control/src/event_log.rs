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
use mayfly_control_store::{Event, EventFilter, OfApp, StoreError};
use mayfly_types::{AppName, EventSeq, MachineId, OrgId};
use mayfly_wire::{EventPage, LoggedEvent};
use tokio::time::Instant;

use crate::access::{Caller, Lasting};
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

/// A page after `after`, or of the `last` so many; as server-sent events when the caller accepts them. With `wait`
/// (seconds) an empty page is held back until there is something to say.
pub(crate) async fn read(
    State(cloud): State<Arc<Cloud>>,
    Lasting {
        access: caller,
        standing,
    }: Lasting<Caller>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    query.only(&["after", "limit", "last", "app", "machine", "wait"])?;
    if let Some(last) = query.number("last", 1, LIMIT_MAX)? {
        for other in ["after", "limit", "wait"] {
            if query.text(other).is_some() {
                return Err(ApiError::unreadable(format!(
                    "query parameter \"last\" goes without \"{other}\""
                )));
            }
        }
        let filter = reading(&cloud, &caller, &query).await?.filter;
        // A page goes on after everything there was, so what follows is neither missed nor matched twice.
        let newest = cloud.store.newest_event().await?;
        let last = u32::try_from(last).expect("held to its limits");
        let events = cloud.store.last_events(filter, last).await?;
        let seen = events.last().map_or(newest, |event| event.seq.max(newest));
        return Ok(page(&caller, events, seen).into_response());
    }
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
        return Ok(stream::stream(cloud, caller, reading, standing).into_response());
    }
    let shut = stream::until_shut(standing, reading.filter.clone());
    tokio::pin!(shut);
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
            refused = &mut shut => return Err(refused),
            () = tokio::time::sleep_until(deadline) => break events,
        }
    };
    let next = events.last().map_or(reading.after, |event| event.seq);
    Ok(page(&caller, events, next).into_response())
}

fn page(caller: &Caller, events: Vec<Event>, next: EventSeq) -> Json<EventPage> {
    let events = events.into_iter().map(|event| view(caller, event));
    Json(EventPage {
        events: events.collect(),
        next: next.0,
    })
}

async fn reading(cloud: &Cloud, caller: &Caller, query: &Query) -> Result<Reading, ApiError> {
    let after = query.number("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1, LIMIT_MAX)?;
    let machine: Option<MachineId> = query.parsed("machine")?;
    let whole = whole_orgs(caller);
    let app = app_seen(cloud, caller, &whole, query).await?;
    if app.is_none() {
        for membership in &caller.orgs {
            caller.whole_org(&membership.org)?;
        }
    }
    let orgs = match &app {
        Some(OfApp::Id(_)) => caller.org_ids(),
        Some(OfApp::Called(_)) | None => whole,
    };
    Ok(Reading {
        after: EventSeq(after),
        filter: EventFilter {
            orgs: Some(orgs),
            app,
            machine,
            kinds: None,
        },
        limit: limit.map_or(LIMIT, |limit| u32::try_from(limit).unwrap_or(LIMIT)),
    })
}

/// The organizations of which nothing is hidden from the caller.
fn whole_orgs(caller: &Caller) -> Vec<OrgId> {
    let whole = caller.orgs.iter().map(|membership| &membership.org);
    whole
        .filter(|org| caller.whole_org(org).is_ok())
        .map(|org| org.id)
        .collect()
}

/// What `?app=` asks for. In the organizations that are open as a `whole` it is whatever was ever called so; elsewhere it
/// is the app that the caller may see.
async fn app_seen(
    cloud: &Cloud,
    caller: &Caller,
    whole: &[OrgId],
    query: &Query,
) -> Result<Option<OfApp>, ApiError> {
    let Some(name) = query.parsed::<AppName>("app")? else {
        return Ok(None);
    };
    match cloud.store.app(name.clone()).await {
        Ok(app) if whole.contains(&app.org_id) => return Ok(Some(OfApp::Called(name))),
        Ok(app) if caller.sees_app(&app) => return Ok(Some(OfApp::Id(app.id))),
        Ok(_) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let once = EventFilter {
        orgs: Some(whole.to_vec()),
        app: Some(OfApp::Called(name.clone())),
        ..EventFilter::default()
    };
    match cloud.store.last_events(once, 1).await?.is_empty() {
        true => Err(ApiError::not_found(format!(
            "Could not find App \"{name}\""
        ))),
        false => Ok(Some(OfApp::Called(name))),
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
