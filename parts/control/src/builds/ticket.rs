use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mayfly_runtime::Entropy;
use mayfly_types::{AppId, Secret};
use sha2::{Digest as _, Sha256};

type Known = Arc<Mutex<HashMap<[u8; 32], AppId>>>;

/// What builds show to the registry. A step of a build that gets hold of one can do with it no more than the build.
#[derive(Clone, Default)]
pub(super) struct Tickets(Known);

/// Opens one app's repositories until it is dropped.
pub(super) struct Ticket {
    pub(super) secret: Secret,
    key: [u8; 32],
    known: Known,
}

impl Tickets {
    pub(super) fn issue(&self, app: AppId, entropy: &dyn Entropy) -> Ticket {
        let bytes: [u8; 32] = entropy.bytes();
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = key(&secret);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, app);
        Ticket {
            secret: Secret::new(secret),
            key,
            known: Arc::clone(&self.0),
        }
    }

    pub(super) fn app_of(&self, token: &str) -> Option<AppId> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(token)).copied()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&self.key);
    }
}

fn key(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
