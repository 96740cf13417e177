//! What edges are told: the apps with their names, addresses and certificates, as one value that is replaced whole.
//!
//! The publisher follows the event log and reads again only what it says has changed; everything else keeps its
//! allocation, so that an edge sees by pointer what is new. While the store is away the last value stays, and a copy on
//! disk lets an edge serve after a restart before the store answers.

mod certificates;
mod publisher;
mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;

use mayfly_edge_api::Directory;
use tokio::sync::watch;

pub(crate) use publisher::Publisher;
use snapshot::Snapshot;

/// The directory edges follow, from the moment the process starts. Clones share it.
#[derive(Clone, Debug)]
pub struct DirectoryFeed {
    value: watch::Sender<Arc<Directory>>,
    snapshot: Arc<Snapshot>,
}

impl DirectoryFeed {
    /// Begins with what an earlier process wrote to `snapshot`, or with nothing.
    ///
    /// A snapshot that cannot be read is passed over with a warning: the store is the truth.
    pub fn open(snapshot: PathBuf) -> DirectoryFeed {
        let snapshot = Snapshot::at(snapshot);
        let last = snapshot.read().unwrap_or_default();
        DirectoryFeed {
            value: watch::Sender::new(Arc::new(last)),
            snapshot: Arc::new(snapshot),
        }
    }

    /// The current value and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Directory>> {
        self.value.subscribe()
    }

    /// Takes over what the control plane of another server publishes; blocks on the disk.
    pub fn replace(&self, directory: Directory) {
        let directory = Arc::new(directory);
        self.value.send_replace(directory.clone());
        if let Err(error) = self.snapshot.write(&directory) {
            tracing::warn!(%error, "the snapshot of the directory could not be written");
        }
    }

    pub fn current(&self) -> Arc<Directory> {
        self.value.borrow().clone()
    }
}
