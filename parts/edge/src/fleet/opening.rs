//! Who may open a connection to a port of a machine now.
//!
//! A program's queue of connections it has not accepted may be as short as five, and the kernel drops what comes on top.
//! So only a few are opened at a time; who waits for a turn may find a connection that has become free meanwhile.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Connections to one port of a machine that are being opened at the same time, by all cores.
const OPENING_MAX: usize = 16;

/// The turns of one port; most ports never need any memory for them.
#[derive(Debug, Default)]
pub(super) struct Turns(OnceLock<Arc<Semaphore>>);

/// The right to open a connection, given up when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    /// Others were opening connections.
    pub(crate) has_waited: bool,
}

impl Turn {
    /// Where nobody has to wait for any.
    pub(super) fn free() -> Turn {
        Turn {
            _permit: None,
            has_waited: false,
        }
    }
}

impl Turns {
    /// `None` if the turn did not come until `deadline`.
    pub(super) async fn next(&self, deadline: Instant) -> Option<Turn> {
        let turns = self.0.get_or_init(|| Arc::new(Semaphore::new(OPENING_MAX)));
        let (permit, has_waited) = match Arc::clone(turns).try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(_) => {
                let waiting = Arc::clone(turns).acquire_owned();
                let waited = timeout_at(deadline, waiting).await.ok()?;
                (waited.expect("the semaphore is never closed"), true)
            }
        };
        Some(Turn {
            _permit: Some(permit),
            has_waited,
        })
    }
}
