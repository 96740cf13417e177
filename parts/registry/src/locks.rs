use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mayfly_types::Digest;

/// One lock for each digest that something is done about.
#[derive(Default)]
pub(crate) struct DigestLocks(Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>);

impl DigestLocks {
    pub(crate) fn of(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().expect("no holder of this lock panics");
        // Those that nobody waits for are in the map only.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(digest).or_default().clone()
    }
}
