//! What the connections of one core share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_machine::HttpOptions;
use mayfly_runtime::Clock;
use mayfly_types::{InstanceId, Region, Timestamp};
use tokio::sync::watch;

use super::counters::{Counters, EdgeMetrics};
use super::head::HEAD_MAX;
use super::limits::{Limits, Meter};
use super::memory::{HEAD_PATIENCE, IDLE_PATIENCE};
use super::notices::Notices;
use super::pool::Pool;
use super::pulse::Ticker;
use super::response_head::ResponseHead;
use super::room::Room;
use crate::fleet::{Fleet, Table};
use crate::http2::Links;
use crate::replay::ReplayCache;
use crate::statics::{Buckets, StaticFiles};
use crate::transport::{EdgeConfig, EdgeDeps};

/// Working memory of busy requests that is kept for the next ones.
const SCRATCH_KEPT: usize = 64;

/// How the edge treats requests, beyond where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// How long nothing may move on a connection, unless a service says so itself.
    pub idle_patience: Duration,
    /// How long the head of a request may take from its first byte to its last, unless a service says so itself.
    pub head_patience: Duration,
    /// The longest head of a request; at most [`HttpSettings::HEADER_BYTES_MAX`].
    pub header_bytes: usize,
    /// Connections open at once; `None` leaves it to the system.
    pub connections: Option<u32>,
    /// How long a request waits for a machine that can take it.
    pub queue_patience: Duration,
    /// How long a machine that has run for a while may refuse connections before its requests fail.
    pub refused_patience: Duration,
    pub limits: Limits,
}

impl HttpSettings {
    /// What is not configurable: every buffer for heads is made for it.
    pub const HEADER_BYTES_MAX: usize = HEAD_MAX;
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            idle_patience: IDLE_PATIENCE,
            head_patience: HEAD_PATIENCE,
            header_bytes: HEAD_MAX,
            connections: None,
            queue_patience: Duration::from_secs(60),
            refused_patience: Duration::from_secs(3),
            limits: Limits::default(),
        }
    }
}

/// What all cores know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) domain: String,
    pub(crate) region: Region,
    pub(crate) https_port: u16,
    pub(crate) http: HttpSettings,
}

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    pub(crate) pool: Pool,
    pub(crate) links: Links,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) room: Arc<Room>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) notices: Notices,
    pub(crate) replays: Arc<ReplayCache>,
    pub(crate) statics: Arc<dyn StaticFiles>,
    pub(crate) buckets: Buckets,
    chance: AtomicU64,
    scratch: Mutex<Vec<Scratch>>,
}

/// Makes the cores of one edge, which share what has to be counted together.
pub(crate) struct Cores<'a> {
    config: &'a EdgeConfig,
    deps: &'a EdgeDeps,
    metrics: &'a EdgeMetrics,
    meter: Arc<Meter>,
    room: Arc<Room>,
    replays: Arc<ReplayCache>,
}

impl<'a> Cores<'a> {
    pub(crate) fn new(
        config: &'a EdgeConfig,
        deps: &'a EdgeDeps,
        metrics: &'a EdgeMetrics,
    ) -> Cores<'a> {
        Cores {
            config,
            deps,
            metrics,
            meter: Arc::new(Meter::new(config.http.limits.clone())),
            room: Arc::new(Room::new(config.http.connections)),
            replays: Arc::default(),
        }
    }

    /// The core with this number, from 0. Redirects name `https_port` when it is not 443.
    pub(crate) fn core(&self, index: usize, https_port: u16) -> Core {
        Core {
            settings: Settings {
                domain: self.config.domain.clone(),
                region: self.config.region.clone(),
                https_port,
                http: self.config.http.clone(),
            },
            clock: Arc::clone(&self.deps.clock),
            directory: self.deps.directory.clone(),
            pool: Pool::default(),
            links: Links::default(),
            fleet: Arc::clone(&self.deps.fleet),
            ticker: Ticker::new(),
            meter: Arc::clone(&self.meter),
            room: Arc::clone(&self.room),
            counters: self.metrics.core(index),
            notices: Notices::default(),
            replays: Arc::clone(&self.replays),
            statics: Arc::clone(&self.deps.statics),
            buckets: self.deps.buckets.clone(),
            chance: AtomicU64::new(u64::from_le_bytes(self.deps.entropy.bytes())),
            scratch: Mutex::default(),
        }
    }
}

/// Working memory of one request.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) out: Vec<u8>,
    pub(crate) answer: ResponseHead,
    pub(crate) request_id: String,
    pub(crate) trace: Vec<u8>,
}

impl Settings {
    /// How long nothing may move for a service with these options.
    pub(crate) fn idle_patience(&self, options: &HttpOptions) -> Duration {
        options.idle_timeout.unwrap_or(self.http.idle_patience)
    }

    pub(crate) fn head_patience(&self, options: &HttpOptions) -> Duration {
        options
            .headers_read_timeout
            .unwrap_or(self.http.head_patience)
    }
}

impl Core {
    pub(crate) fn table(&self) -> Arc<Table> {
        self.fleet.table()
    }

    /// Moves deadlines on and closes what has waited too long; to be called every [`super::TICK`].
    pub(crate) fn sweep(&self) {
        self.ticker.tick();
        self.pool.sweep();
        self.links.sweep();
    }

    /// A random number, fit for ids and choices but not for secrets (splitmix64 from a true seed): asking the kernel
    /// costs a call per request.
    pub(crate) fn chance(&self) -> u64 {
        // No other thread writes here.
        let mut word = self.chance.load(Ordering::Relaxed);
        let next = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.store(next, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A ULID and the region the request came in at.
    pub(crate) fn request_id(&self) -> String {
        let mut id = String::new();
        self.write_request_id(self.clock.now(), &mut id);
        id
    }

    /// The same in the place of what `id` holds.
    pub(crate) fn write_request_id(&self, now: Timestamp, id: &mut String) {
        let (first, second) = (self.chance().to_le_bytes(), self.chance().to_le_bytes());
        let mut random = [0; 10];
        random[..8].copy_from_slice(&first);
        random[8..].copy_from_slice(&second[..2]);
        let ulid = InstanceId::new(now, random);
        id.clear();
        id.push_str(ulid.as_str());
        id.push('-');
        id.push_str(self.settings.region.as_str());
    }

    pub(crate) fn take_scratch(&self) -> Scratch {
        let mut kept = self.scratch.lock().expect("no holder of this lock panics");
        kept.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut scratch: Scratch) {
        if scratch.out.capacity() > 64 * 1024 {
            return;
        }
        scratch.out.clear();
        let mut kept = self.scratch.lock().expect("no holder of this lock panics");
        if kept.len() < SCRATCH_KEPT {
            kept.push(scratch);
        }
    }
}
