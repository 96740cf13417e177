use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_control_store::{ControlStore, EventFilter, StoreError};
use mayfly_runtime::{Backoff, Stop};
use mayfly_types::{EventSeq, MachineId};
use tokio::sync::watch;
use tracing::warn;

/// Events read at once.
const BATCH: u32 = 1000;

/// Another process may have written to the same database.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    most: Duration::from_secs(5),
};

/// Wakes whoever waits for a machine, one reader of the event log on behalf of all of them.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<HashMap<MachineId, watch::Sender<()>>>>);

impl Changes {
    /// Changes with every event of the machine from now on.
    pub(crate) fn of(&self, machine: MachineId) -> watch::Receiver<()> {
        self.waiters()
            .entry(machine)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<MachineId, watch::Sender<()>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn touch(&self, machine: MachineId) {
        let mut waiters = self.waiters();
        if let Some(sender) = waiters.get(&machine)
            && sender.send(()).is_err()
        {
            waiters.remove(&machine);
        }
    }

    /// Follows the log behind `after` until told to stop.
    pub(crate) async fn follow(self, store: ControlStore, mut after: EventSeq, stop: Stop) {
        let mut newest = store.watch();
        let mut failures = 0;
        loop {
            newest.borrow_and_update();
            let pause = match self.catch_up(&store, &mut after).await {
                Ok(()) => {
                    failures = 0;
                    LOOK_AGAIN
                }
                Err(error) => {
                    warn!(%error, "reading the event log failed; those who wait wait longer");
                    failures += 1;
                    RETRY.pause(failures)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = newest.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn catch_up(&self, store: &ControlStore, after: &mut EventSeq) -> Result<(), StoreError> {
        loop {
            let events = store
                .events_after(*after, EventFilter::default(), BATCH)
                .await?;
            for machine in events.iter().filter_map(|event| event.machine_id) {
                self.touch(machine);
            }
            match events.last() {
                Some(last) => *after = last.seq,
                None => return Ok(()),
            }
        }
    }
}
