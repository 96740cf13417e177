use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_fleet_api::{HostCall, WatchMessage};
use mayfly_host_api::CatalogEntry;
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_types::MachineId;
use tracing::{info, warn};

use super::RemoteHost;
use crate::link::LinkError;

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    most: Duration::from_secs(3),
};

type Entries = BTreeMap<MachineId, Arc<CatalogEntry>>;

impl RemoteHost {
    /// Follows the host's catalog, position and status until told to stop, through any number of broken connections.
    pub async fn run(&self, stop: Stop) {
        stop.run_until_cancelled(self.watch_on()).await;
        self.0.connected.send_replace(false);
    }

    async fn watch_on(&self) {
        let host_id = self.0.id;
        let mut failures = 0;
        loop {
            let Err(error) = self.watch_once().await;
            if self.0.connected.send_replace(false) {
                failures = 0;
            }
            if failures == 0 {
                warn!(%host_id, error = report(&error), "host not heard");
            }
            tokio::time::sleep(RETRY.pause(failures)).await;
            failures += 1;
        }
    }

    async fn watch_once(&self) -> Result<std::convert::Infallible, LinkError> {
        let link = &self.0.link;
        let mut line = link.stream(&self.call(HostCall::Watch)).await?;
        let mut entries = self.entries();
        // What the whole names; `None` once it is complete.
        let mut whole = Some(Entries::new());
        loop {
            let next = line.reader.expect_soon().await;
            let message = next.and_then(|frame| frame.message());
            match message.map_err(|error| link.unreachable(error))? {
                WatchMessage::Entries {
                    changed,
                    removed,
                    complete,
                } => {
                    let target = whole.as_mut().unwrap_or(&mut entries);
                    for gone in removed {
                        target.remove(&gone);
                    }
                    for entry in changed {
                        let known = self.known(&entry);
                        target.insert(entry.machine_id, known.unwrap_or_else(|| Arc::new(entry)));
                    }
                    if complete && let Some(whole) = whole.take() {
                        entries = whole;
                        info!(host_id = %self.0.id, machines = entries.len(), "host heard");
                        self.0.connected.send_replace(true);
                    }
                    if whole.is_none() {
                        self.publish(&entries);
                    }
                }
                WatchMessage::Latest(seq) => {
                    self.0.latest.send_replace(seq);
                }
                WatchMessage::Status(mut status) => {
                    // Two servers may keep their images in directories of the same name.
                    status.image_store = format!("{}:{}", self.0.id, status.image_store);
                    self.0.status.send_replace(*status);
                }
                WatchMessage::Alive => {}
            }
        }
    }

    fn entries(&self) -> Entries {
        let catalog = self.0.catalog.borrow();
        let entries = catalog.iter();
        entries
            .map(|entry| (entry.machine_id, entry.clone()))
            .collect()
    }

    /// The allocation of an entry that says the same already.
    fn known(&self, entry: &CatalogEntry) -> Option<Arc<CatalogEntry>> {
        let catalog = self.0.catalog.borrow();
        let place = catalog.binary_search_by_key(&entry.machine_id, |known| known.machine_id);
        let known = &catalog[place.ok()?];
        (**known == *entry).then(|| known.clone())
    }

    fn publish(&self, entries: &Entries) {
        self.0.catalog.send_if_modified(|catalog| {
            let same = catalog.len() == entries.len()
                && catalog
                    .iter()
                    .zip(entries.values())
                    .all(|(old, new)| Arc::ptr_eq(old, new));
            if !same {
                *catalog = Arc::new(entries.values().cloned().collect());
            }
            !same
        });
    }
}
