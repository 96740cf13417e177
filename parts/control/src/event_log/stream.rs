use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::Stream;
use mayfly_types::EventSeq;
use mayfly_wire::LoggedEvent;
use tokio::sync::watch;
use tracing::warn;

use super::{Reading, view};
use crate::access::Caller;
use crate::cloud::Cloud;

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

/// The log after `reading.after`, continuing until the reader leaves, the API stops or the store fails; a reader comes
/// back with the last id it saw.
pub(super) fn stream(
    cloud: Arc<Cloud>,
    caller: Caller,
    reading: Reading,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
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
    Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET_MAX))
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
