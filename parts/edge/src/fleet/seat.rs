use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mayfly_host_api::{CatalogEntry, CheckStatus};
use mayfly_routing::{Candidate, Out, Standing};

use super::backend::{Backend, uptime};
use super::opening::Opening;

/// So long after its start, and after a refused connection, a port that was never seen to accept is used only when
/// there is nothing better.
const DOUBT: Duration = Duration::from_secs(2);

const HEALTHY: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;

/// A port of a machine: what is counted per machine and service.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) backend: Arc<Backend>,
    pub(crate) port: u16,
    load: AtomicU32,
    /// The highest load since autostop looked last.
    peak: AtomicU32,
    health: AtomicU8,
    /// It has accepted a connection since the machine started.
    accepts: AtomicBool,
    /// [`uptime`] in milliseconds.
    refused_at: AtomicU64,
    /// Most ports of a large fleet are never asked for a connection on one server.
    opening: OnceLock<Box<Opening>>,
}

impl Seat {
    pub(crate) fn new(backend: Arc<Backend>, port: u16) -> Seat {
        Seat {
            backend,
            port,
            load: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            health: AtomicU8::new(HEALTHY),
            accepts: AtomicBool::new(false),
            refused_at: AtomicU64::new(0),
            opening: OnceLock::new(),
        }
    }

    /// Takes over what the checks of this port say.
    pub(crate) fn observe(&self, entry: &CatalogEntry, began: bool) {
        let health = entry
            .checks
            .iter()
            .filter(|check| check.service_port == Some(self.port))
            .map(|check| match check.status {
                CheckStatus::Passing => HEALTHY,
                CheckStatus::Warning => WARNING,
                CheckStatus::Critical => CRITICAL,
            })
            .max()
            .unwrap_or(HEALTHY);
        self.health.store(health, Ordering::Release);
        if began {
            self.accepts.store(false, Ordering::Release);
        }
    }

    pub(crate) fn standing(&self, autostart: bool) -> Standing {
        match self.backend.standing(autostart) {
            Standing::Ready => match self.health.load(Ordering::Acquire) {
                CRITICAL => Standing::Out(Out::Unhealthy),
                WARNING => Standing::Doubtful,
                _ if self.accepts() || !self.is_in_doubt() => Standing::Ready,
                _ => Standing::Doubtful,
            },
            other => other,
        }
    }

    pub(crate) fn load(&self) -> u32 {
        self.load.load(Ordering::SeqCst)
    }

    /// The highest load since the last call.
    pub(crate) fn take_peak(&self) -> u32 {
        let load = self.load();
        self.peak.swap(load, Ordering::Relaxed).max(load)
    }

    /// Adds one to the load if it stays within `hard` and the machine was not taken out meanwhile.
    pub(crate) fn acquire(&self, hard: u32) -> bool {
        let added = self
            .load
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |load| {
                (load < hard).then_some(load + 1)
            });
        if added.is_err() {
            return false;
        }
        // Autostop sets its mark before it looks at the load: one of the two sees the other.
        if self.backend.is_closed() {
            self.load.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Takes one from the load; `served` tells whether the machine had work from it.
    pub(crate) fn release(&self, served: bool) {
        let before = self.load.fetch_sub(1, Ordering::SeqCst);
        if served && self.peak.load(Ordering::Relaxed) < before {
            self.peak.fetch_max(before, Ordering::Relaxed);
        }
    }

    pub(crate) fn accepts(&self) -> bool {
        self.accepts.load(Ordering::Acquire)
    }

    pub(crate) fn accepted(&self) {
        if !self.accepts() {
            self.accepts.store(true, Ordering::Release);
        }
    }

    pub(super) fn opening(&self) -> &Opening {
        self.opening.get_or_init(Box::default)
    }

    pub(crate) fn refused(&self) {
        self.accepts.store(false, Ordering::Release);
        self.refused_at.store(uptime().max(1), Ordering::Relaxed);
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.backend.addresses(self.port)
    }

    fn is_in_doubt(&self) -> bool {
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        let doubt = u64::try_from(DOUBT.as_millis()).unwrap_or(u64::MAX);
        (refused_at != 0 && uptime() < refused_at + doubt) || self.backend.age() < DOUBT
    }
}

/// A seat among those of a service, with what its machine's version says.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) seat: Arc<Seat>,
    pub(crate) soft: u32,
    pub(crate) hard: u32,
    /// From this edge's region.
    pub(crate) distance: u16,
    pub(crate) autostart: bool,
}

impl Candidate for Member {
    fn standing(&self) -> Standing {
        self.seat.standing(self.autostart)
    }

    fn load(&self) -> u32 {
        self.seat.load()
    }

    fn soft(&self) -> u32 {
        self.soft
    }

    fn hard(&self) -> u32 {
        self.hard
    }
}

/// A member that was asked for by name: an unhealthy one is tried all the same.
pub(crate) struct Named<'a>(pub(crate) &'a Member);

impl Candidate for Named<'_> {
    fn standing(&self) -> Standing {
        match self.0.standing() {
            Standing::Out(Out::Unhealthy) => Standing::Doubtful,
            other => other,
        }
    }

    fn load(&self) -> u32 {
        self.0.load()
    }

    fn soft(&self) -> u32 {
        self.0.soft
    }

    fn hard(&self) -> u32 {
        self.0.hard
    }
}
