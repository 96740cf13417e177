//! Forgets what is old: rows of the event log, destroyed machines, spent idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{ControlStore, Keep, StoreError};
use mayfly_runtime::{Clock, LoopHandle, LoopStatus, Stop};

const EVERY: Duration = Duration::from_secs(600);

/// How long things are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows of the event log and of machines' histories.
    pub events: Duration,
    /// Destroyed machines and deleted apps.
    pub destroyed: Duration,
}

impl Default for Retention {
    /// A quarter for the log, two days for what is gone: clients read the exit of an ephemeral machine from it.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Retention {
            events: 90 * DAY,
            destroyed: 2 * DAY,
        }
    }
}

pub(crate) struct Expiry {
    pub(crate) store: ControlStore,
    pub(crate) retention: Retention,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: LoopHandle,
}

impl Expiry {
    pub(crate) async fn run(self, stop: Stop) {
        while !stop.is_cancelled() {
            let began = self.clock.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            match self.turn(&stop).await {
                Ok(forgotten) => status.applied = forgotten,
                Err(error) => status.last_error = Some(mayfly_runtime::report(&error)),
            }
            status.took = self.clock.now().since(began);
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn turn(&self, stop: &Stop) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let keep = Keep {
            events_since: now - self.retention.events,
            destroyed_since: now - self.retention.destroyed,
            now,
        };
        let mut forgotten = 0;
        while !stop.is_cancelled() {
            match self.store.expire(keep).await?.total() {
                0 => break,
                some => forgotten += some,
            }
        }
        Ok(forgotten)
    }
}
