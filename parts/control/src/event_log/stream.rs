use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::{Stream, StreamExt};
use mayfly_control_store::{EventFilter, OfApp};
use mayfly_types::EventSeq;
use mayfly_wire::LoggedEvent;
use tokio::sync::watch;
use tracing::warn;

use super::{Reading, view, whole_orgs};
use crate::access::{Caller, Standing};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// Comments on a quiet stream, so that proxies keep it open.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// Events read ahead of a slow reader.
const BATCH: u32 = 200;

struct Following {
    cloud: Arc<Cloud>,
    caller: Caller,
    reading: Reading,
    newest: watch::Receiver<EventSeq>,
    ready: VecDeque<LoggedEvent>,
}

/// The log after `reading.after`, continuing until the reader leaves, may read it no longer, the API stops or the store
/// fails; a reader comes back with the last id it saw.
pub(super) fn stream(
    cloud: Arc<Cloud>,
    caller: Caller,
    reading: Reading,
    standing: Standing<Caller>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let filter = reading.filter.clone();
    let following = Following {
        newest: cloud.store.watch(),
        cloud,
        caller,
        reading,
        ready: VecDeque::new(),
    };
    let events = futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        let said = sse::Event::default()
            .id(event.seq.to_string())
            .event(&event.kind)
            .json_data(&event)
            .expect("a logged event is JSON");
        Some((Ok(said), following))
    });
    let events = events.take_until(Box::pin(until_shut(standing, filter)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET_MAX))
}

/// Returns once something of what is read is not open to the caller any more.
pub(super) async fn until_shut(standing: Standing<Caller>, filter: EventFilter) -> ApiError {
    standing.lost(|caller| still_open(caller, &filter)).await
}

/// Holds that nothing which was open has been shut.
fn still_open(caller: &Caller, filter: &EventFilter) -> Result<(), ApiError> {
    let open = match filter.app {
        Some(OfApp::Id(_)) => caller.org_ids(),
        Some(OfApp::Called(_)) | None => whole_orgs(caller),
    };
    let mut wanted = filter.orgs.iter().flatten();
    match wanted.all(|org| open.contains(org)) {
        true => Ok(()),
        false => Err(ApiError::forbidden("an organization is no longer open")),
    }
}

impl Following {
    async fn next(&mut self) -> Option<LoggedEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Seen before reading, so that what is written meanwhile wakes us again.
            self.newest.borrow_and_update();
            let (after, filter) = (self.reading.after, self.reading.filter.clone());
            let events = match self.cloud.store.events_after(after, filter, BATCH).await {
                Ok(events) => events,
                Err(error) => {
                    warn!(%error, "an event stream ended");
                    return None;
                }
            };
            match events.last() {
                Some(last) => self.reading.after = last.seq,
                None => tokio::select! {
                    changed = self.newest.changed() => changed.ok()?,
                    () = self.cloud.stop.cancelled() => return None,
                },
            }
            let views = events.into_iter().map(|event| view(&self.caller, event));
            self.ready.extend(views);
        }
    }
}
