//! What the connections of one core share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mayfly_runtime::{Clock, Entropy};
use mayfly_types::{InstanceId, Region};

use super::pool::Pool;
use super::pulse::Ticker;
use super::response_head::ResponseHead;
use crate::fleet::Fleet;
use crate::http2::Links;

/// Working memory of busy requests that is kept for the next ones.
const SCRATCH_KEPT: usize = 64;

pub(crate) struct Core {
    pub(crate) domain: String,
    pub(crate) region: Region,
    /// Where https is served to the world; a redirect names it when it is not 443.
    pub(crate) https_port: u16,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Pool,
    pub(crate) links: Links,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ticker: Arc<Ticker>,
    chance: AtomicU64,
    scratch: Mutex<Vec<Scratch>>,
}

/// Working memory of one request.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) out: Vec<u8>,
    pub(crate) answer: ResponseHead,
}

impl Core {
    pub(crate) fn new(
        domain: String,
        region: Region,
        https_port: u16,
        fleet: Arc<Fleet>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Core {
        Core {
            domain,
            region,
            https_port,
            clock,
            pool: Pool::default(),
            links: Links::default(),
            fleet,
            ticker: Ticker::new(),
            chance: AtomicU64::new(u64::from_le_bytes(entropy.bytes())),
            scratch: Mutex::default(),
        }
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
        let mut word = self
            .chance
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A ULID and the region the request came in at.
    pub(crate) fn request_id(&self) -> String {
        let (first, second) = (self.chance().to_le_bytes(), self.chance().to_le_bytes());
        let mut random = [0; 10];
        random[..8].copy_from_slice(&first);
        random[8..].copy_from_slice(&second[..2]);
        let ulid = InstanceId::new(self.clock.now(), random);
        let mut id = String::with_capacity(32);
        id.push_str(ulid.as_str());
        id.push('-');
        id.push_str(self.region.as_str());
        id
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
