//! Who may open a connection to a port of a machine now.
//!
//! A program's queue of connections it has not accepted may be as short as five, and the kernel drops what comes on top.
//! So only a few are opened at a time; who waits for a turn may find a connection that has become free meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::backend::uptime;

/// Connections to one port of a machine that are being opened at the same time, by all cores.
const OPENING_MAX: usize = 16;

/// What opening connections to one port of a machine takes.
#[derive(Debug)]
pub(super) struct Opening {
    turns: Arc<Semaphore>,
    /// [`uptime`] in milliseconds at which one was opened last.
    connected_at: AtomicU64,
    /// Held by the one connection that tries whether a machine that has just started accepts.
    pub(super) trying: Mutex<()>,
}

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

impl Default for Opening {
    fn default() -> Opening {
        Opening {
            turns: Arc::new(Semaphore::new(OPENING_MAX)),
            connected_at: AtomicU64::new(0),
            trying: Mutex::default(),
        }
    }
}

impl Opening {
    /// `None` if the turn did not come until `deadline`.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<Turn> {
        let turns = Arc::clone(&self.turns);
        let (permit, has_waited) = match Arc::clone(&turns).try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(_) => {
                let waited = timeout_at(deadline, turns.acquire_owned()).await.ok()?;
                (waited.expect("the semaphore is never closed"), true)
            }
        };
        Some(Turn {
            _permit: Some(permit),
            has_waited,
        })
    }

    /// A connection was opened.
    pub(super) fn connected(&self) {
        self.connected_at.store(uptime(), Ordering::Relaxed);
    }

    /// Whether one was opened, or waiting for one began at `began` ([`uptime`]), within `span`.
    pub(super) fn connected_within(&self, span: Duration, began: u64) -> bool {
        let last = self.connected_at.load(Ordering::Relaxed).max(began);
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        uptime() < last + span
    }
}
