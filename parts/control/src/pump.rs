//! Takes over what the host reports, in order and without a gap, also across restarts of either side.
//!
//! The cursor lies in the store and moves in the transaction that applies the reports, so nothing is applied twice
//! and nothing is skipped. A wake-up carries no data: each turn asks the host for what comes after the cursor.

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::ControlStore;
use mayfly_host_api::HostApi;
use mayfly_runtime::{Backoff, Clock, LoopHandle, LoopStatus, Stop};
use mayfly_types::HostId;

use crate::turn::TurnError;

/// Reports applied in one transaction.
const BATCH: usize = 256;
/// How often a quiet host is noted to be there: a third of what standbys wait for.
const HEARTBEAT: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(100),
    most: Duration::from_secs(10),
};

pub(crate) struct Pump {
    pub(crate) store: ControlStore,
    pub(crate) host: Arc<dyn HostApi>,
    pub(crate) host_id: HostId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: LoopHandle,
}

impl Pump {
    /// Runs until told to stop. Cancelling between turns loses nothing.
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.host.latest();
        let mut failures = 0;
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let pause = match self.turn().await {
                Ok(()) => {
                    failures = 0;
                    HEARTBEAT
                }
                Err(error) => {
                    let text = mayfly_runtime::report(&error);
                    tracing::warn!(host_id = %self.host_id, error = %text, "host reports not applied");
                    self.status.publish(LoopStatus {
                        ran_at: Some(self.clock.now()),
                        waiting: 1,
                        last_error: Some(text),
                        ..LoopStatus::default()
                    });
                    failures += 1;
                    RETRY.pause(failures - 1)
                }
            };
            let failed = failures > 0;
            tokio::select! {
                () = stop.cancelled() => return,
                // A host that is gone wakes nobody; the pause still passes.
                Ok(()) = news.changed(), if !failed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn turn(&self) -> Result<(), TurnError> {
        let began = self.clock.now();
        let mut cursor = self.store.host(self.host_id).await?.applied_seq;
        let mut applied = 0;
        loop {
            let events = self.host.events_after(cursor, BATCH).await?;
            if events.is_empty() {
                break;
            }
            let outcome = self.store.apply_host_events(self.host_id, events).await?;
            applied += outcome.reports;
            cursor = outcome.cursor;
        }
        let now = self.clock.now();
        self.store.host_seen(self.host_id, now).await?;
        self.status.publish(LoopStatus {
            ran_at: Some(now),
            took: now.since(began),
            applied,
            waiting: 0,
            last_error: None,
        });
        Ok(())
    }
}
