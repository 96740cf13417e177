use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use mayfly_host_api::{CatalogEntry, host_address};
use mayfly_machine::MachineState;
use mayfly_routing::{Asleep, Out, Standing};
use mayfly_runtime::Backoff;
use mayfly_types::{AppName, HostId, MachineId, Region};
use tokio::time::Instant;

use super::waker::WakeFailure;
use crate::backhaul::BACKHAUL_PORT;

/// A start that failed is tried again when the next request comes after this.
const START_AGAIN: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
};

/// Where a machine is, in one word that is read for every request: the state, and these.
const STATE: u32 = 0xff;
const CORDONED: u32 = 1 << 8;
/// It was asked to start from stopped and is not started yet.
const STARTING: u32 = 1 << 9;
/// It was asked to thaw and is not started yet; its kernel accepts connections.
const THAWING: u32 = 1 << 10;
/// The host has taken the request to start or thaw.
const ACCEPTED: u32 = 1 << 11;
/// Autostop gives it nothing new, but has not asked the host yet.
const DRAINING: u32 = 1 << 12;
/// Autostop has asked the host, whose answer is not known yet.
const RESTING: u32 = 1 << 13;
/// The last start failed.
const FAILED: u32 = 1 << 14;

/// A machine, the same as long as it is on its host: what requests have to agree on across cores and tables.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) machine: MachineId,
    pub(crate) host: HostId,
    pub(crate) app: AppName,
    pub(crate) region: Region,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) private_ip: Ipv6Addr,
    /// Of a machine on another server: where its host takes connections for it.
    pub(crate) backhaul: Option<SocketAddr>,
    word: AtomicU32,
    /// Milliseconds of [`uptime`] at which it was last seen to become started.
    started_at: AtomicU64,
    /// Most machines have none: nothing is kept for them.
    failures: Mutex<Option<Box<Failures>>>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    retry_at: Option<Instant>,
    last: Option<WakeFailure>,
}

/// What has to be done so that a machine takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roused {
    /// This call is the one that must ask the host.
    Ask,
    /// Nothing: it is awake or somebody else has asked.
    Already,
    /// It cannot be woken now.
    Refused,
}

/// Milliseconds since the first call, for atomics.
pub(crate) fn uptime() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let begin = *BEGIN;
    u64::try_from(Instant::now().saturating_duration_since(begin).as_millis()).unwrap_or(u64::MAX)
}

impl Backend {
    pub(crate) fn new(entry: &CatalogEntry, is_new: bool, is_elsewhere: bool) -> Backend {
        let backend = Backend {
            machine: entry.machine_id,
            host: entry.host_id,
            app: entry.app_name.clone(),
            region: entry.region.clone(),
            ipv4: entry.ipv4,
            private_ip: entry.private_ip,
            backhaul: is_elsewhere.then(|| (host_address(entry.host_id), BACKHAUL_PORT).into()),
            word: AtomicU32::new(MachineState::Created as u32),
            // What ran when the edge began may have run for long.
            started_at: AtomicU64::new(if is_new { uptime().max(1) } else { 0 }),
            failures: Mutex::default(),
        };
        backend
            .word
            .store(entry.state as u32 | cordon_bit(entry), Ordering::SeqCst);
        backend
    }

    /// Where a port of the machine is, the usual one first: most programs listen on `0.0.0.0`, some on `[::]` only. On
    /// another server the IPv4 address means nothing here.
    pub(crate) fn addresses(&self, port: u16) -> [SocketAddr; 2] {
        let private = SocketAddr::from((self.private_ip, port));
        match self.backhaul {
            Some(_) => [private, private],
            None => [SocketAddr::from((self.ipv4, port)), private],
        }
    }

    /// Whether `entry` tells of the same body at the same place.
    pub(crate) fn is_of(&self, entry: &CatalogEntry) -> bool {
        self.host == entry.host_id
            && self.ipv4 == entry.ipv4
            && self.private_ip == entry.private_ip
            && self.region == entry.region
            && self.app == entry.app_name
    }

    /// Takes over what the host says. Returns whether the machine has just become started.
    pub(crate) fn observe(&self, entry: &CatalogEntry) -> bool {
        let mut failed = false;
        let before = self.update(|word| {
            let mut next = (word & !STATE & !CORDONED) | entry.state as u32 | cordon_bit(entry);
            failed = false;
            match entry.state {
                MachineState::Started | MachineState::Updating => {
                    next &= !(STARTING | THAWING | ACCEPTED | FAILED);
                }
                MachineState::Starting => {}
                state => {
                    next &= !(DRAINING | RESTING);
                    let rests = matches!(
                        state,
                        MachineState::Stopped | MachineState::Failed | MachineState::Suspended
                    );
                    if rests && word & ACCEPTED != 0 && word & STATE != entry.state as u32 {
                        failed = true;
                        next = (next & !(STARTING | THAWING | ACCEPTED)) | FAILED;
                    }
                }
            }
            next
        });
        if failed {
            self.remember(WakeFailure::ended(entry.state));
        }
        let runs = matches!(entry.state, MachineState::Started | MachineState::Updating);
        let began = runs && !is_running(before);
        if began {
            self.started_at.store(uptime().max(1), Ordering::Relaxed);
            *self.failures() = None;
        }
        began
    }

    pub(crate) fn state(&self) -> MachineState {
        state_of(self.word.load(Ordering::Acquire))
    }

    /// What the machine can do for a request to a service that may be started by requests or not. Its health is the
    /// service's matter.
    pub(crate) fn standing(&self, autostart: bool) -> Standing {
        let word = self.word.load(Ordering::Acquire);
        if word & CORDONED != 0 {
            return Standing::Out(Out::Cordoned);
        }
        let asleep = |how| match (autostart, word & FAILED != 0 && !self.retry_is_due()) {
            (false, _) => Standing::Out(Out::KeptAsleep),
            (true, true) => Standing::Out(Out::StartFailed),
            (true, false) => Standing::Asleep(how),
        };
        match state_of(word) {
            MachineState::Started | MachineState::Updating if word & RESTING != 0 => {
                Standing::Leaving
            }
            // Taking it back costs nothing.
            MachineState::Started | MachineState::Updating if word & DRAINING != 0 => {
                Standing::Asleep(Asleep::Suspended)
            }
            MachineState::Started | MachineState::Updating => Standing::Ready,
            MachineState::Suspended | MachineState::Suspending | MachineState::Starting
                if word & THAWING != 0 =>
            {
                Standing::Ready
            }
            _ if word & STARTING != 0 => Standing::Coming,
            MachineState::Suspended | MachineState::Suspending => asleep(Asleep::Suspended),
            MachineState::Stopped | MachineState::Failed => asleep(Asleep::Stopped),
            MachineState::Starting | MachineState::Creating => Standing::Coming,
            // It may take as long as its back-off says: nothing to count on.
            MachineState::Restarting | MachineState::Replacing | MachineState::Stopping => {
                Standing::Leaving
            }
            MachineState::Created
            | MachineState::LaunchFailed
            | MachineState::Destroying
            | MachineState::Destroyed => Standing::Out(Out::Unfit),
        }
    }

    /// Makes the machine one that is awake or about to be, as exactly one of all callers.
    pub(crate) fn rouse(&self) -> Roused {
        let mut roused = Roused::Refused;
        self.update(|word| {
            let state = state_of(word);
            let (next, outcome) = match state {
                _ if word & (STARTING | THAWING) != 0 => (word, Roused::Already),
                MachineState::Started | MachineState::Updating if word & RESTING != 0 => {
                    (word, Roused::Refused)
                }
                MachineState::Started | MachineState::Updating => {
                    (word & !DRAINING, Roused::Already)
                }
                MachineState::Suspended | MachineState::Suspending => (word | THAWING, Roused::Ask),
                MachineState::Stopped | MachineState::Failed => (word | STARTING, Roused::Ask),
                _ => (word, Roused::Refused),
            };
            roused = outcome;
            next & !if outcome == Roused::Ask { ACCEPTED } else { 0 }
        });
        roused
    }

    /// The host has taken the request: what it reports from now on is the outcome.
    pub(crate) fn start_accepted(&self) {
        self.update(|word| {
            if word & (STARTING | THAWING) != 0 {
                word | ACCEPTED
            } else {
                word
            }
        });
    }

    pub(crate) fn is_being_woken(&self) -> bool {
        self.word.load(Ordering::Acquire) & (STARTING | THAWING) != 0
    }

    /// A start came to nothing.
    pub(crate) fn start_failed(&self, failure: WakeFailure) {
        self.remember(failure);
        self.update(|word| (word & !(STARTING | THAWING | ACCEPTED)) | FAILED);
    }

    pub(crate) fn last_failure(&self) -> Option<WakeFailure> {
        self.failures().as_ref()?.last.clone()
    }

    /// Gives the machine nothing new. False if it is not running, or rests already.
    pub(crate) fn drain(&self) -> bool {
        let before = self.update(|word| {
            if is_running(word) && word & (RESTING | CORDONED) == 0 {
                word | DRAINING
            } else {
                word
            }
        });
        is_running(before) && before & (RESTING | DRAINING | CORDONED) == 0
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.word.load(Ordering::SeqCst) & DRAINING != 0
    }

    /// The last moment at which a request could take the machine back: false if one has.
    pub(crate) fn begin_rest(&self) -> bool {
        let before = self.update(|word| {
            if word & DRAINING != 0 && is_running(word) {
                (word & !DRAINING) | RESTING
            } else {
                word & !DRAINING
            }
        });
        before & DRAINING != 0 && is_running(before)
    }

    /// The machine goes on as if nothing had been.
    pub(crate) fn end_rest(&self) {
        self.update(|word| word & !(DRAINING | RESTING));
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.word.load(Ordering::Acquire) & RESTING != 0
    }

    /// Whether a load that was just added is one too many: the machine was taken out in the same moment.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::SeqCst) & (DRAINING | RESTING) != 0
    }

    /// Whether it runs and takes requests as far as autostop is concerned.
    pub(crate) fn is_settled_running(&self) -> bool {
        let word = self.word.load(Ordering::Acquire);
        state_of(word) == MachineState::Started && word & (CORDONED | DRAINING | RESTING) == 0
    }

    /// How long ago it was seen to become started.
    pub(crate) fn age(&self) -> Duration {
        let since = self.started_at.load(Ordering::Relaxed);
        if since == 0 {
            return Duration::MAX;
        }
        Duration::from_millis(uptime().saturating_sub(since))
    }

    fn retry_is_due(&self) -> bool {
        let failures = self.failures();
        let retry_at = failures.as_ref().and_then(|failures| failures.retry_at);
        retry_at.is_none_or(|at| at <= Instant::now())
    }

    fn remember(&self, failure: WakeFailure) {
        let mut kept = self.failures();
        let failures = kept.get_or_insert_default();
        failures.retry_at = Some(Instant::now() + START_AGAIN.pause(failures.count));
        failures.count = failures.count.saturating_add(1);
        failures.last = Some(failure);
    }

    fn failures(&self) -> MutexGuard<'_, Option<Box<Failures>>> {
        self.failures.lock().expect("no holder of this lock panics")
    }

    /// Returns the word before.
    fn update(&self, mut next: impl FnMut(u32) -> u32) -> u32 {
        self.word
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| Some(next(word)))
            .expect("the closure always has an answer")
    }
}

fn cordon_bit(entry: &CatalogEntry) -> u32 {
    if entry.cordoned { CORDONED } else { 0 }
}

fn state_of(word: u32) -> MachineState {
    MachineState::ALL[(word & STATE) as usize]
}

fn is_running(word: u32) -> bool {
    matches!(
        state_of(word),
        MachineState::Started | MachineState::Updating
    )
}
