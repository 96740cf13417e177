use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use boringtun::noise::Tunn;
use mayfly_types::{IpRange, PeerKey};

use crate::key::PresharedKey;
use crate::transport::Way;

/// A peer as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    pub public_key: PeerKey,
    pub preshared_key: Option<PresharedKey>,
    /// Where to speak to it first; a peer heard from elsewhere is answered there. `None` waits for the peer to call.
    pub endpoint: Option<SocketAddr>,
    /// What it may send as, and what is sent to it. A range that two peers name belongs to the later one.
    pub allowed_ips: Vec<IpRange>,
    /// Something is sent this often, also without traffic: the tunnel stays up and ways through translators open.
    pub keepalive: Option<Duration>,
}

/// A peer as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub public_key: PeerKey,
    /// How long ago the keys in use were agreed on.
    pub last_handshake: Option<Duration>,
    /// Bytes of its datagrams that were authentic.
    pub rx_bytes: u64,
    /// Bytes of datagrams sent to it.
    pub tx_bytes: u64,
    /// Where it was heard last; `None` while unknown or when it comes by a relay.
    pub endpoint: Option<SocketAddr>,
}

/// One peer with its keys and counters. It lives as long as it is wanted with the same keys.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) preshared_key: Option<PresharedKey>,
    /// What its datagrams are told apart by: the upper 24 bits of their receiver index.
    pub(crate) slot: u32,
    tunnel: Mutex<Tunn>,
    state: Mutex<State>,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
}

/// What changes rarely: endpoint, keepalive, last times.
#[derive(Debug)]
struct State {
    wanted_endpoint: Option<SocketAddr>,
    way: Option<Way>,
    keepalive: Option<Duration>,
    last_handshake: Option<Instant>,
    sent_before: u64,
    sent_at: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(wanted: &PeerConfig, slot: u32, tunnel: Tunn) -> Peer {
        Peer {
            key: wanted.public_key,
            preshared_key: wanted.preshared_key.clone(),
            slot,
            tunnel: Mutex::new(tunnel),
            state: Mutex::new(State {
                wanted_endpoint: None,
                way: None,
                keepalive: None,
                last_handshake: None,
                sent_before: 0,
                sent_at: None,
            }),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// Takes over what may change while the keys stay. `way` is where the wanted endpoint is; it replaces where the peer
    /// was heard only if the wish changed.
    pub(crate) fn reconcile(&self, wanted: &PeerConfig, way: Option<Way>) {
        let mut state = self.state();
        if state.wanted_endpoint != wanted.endpoint {
            state.wanted_endpoint = wanted.endpoint;
            if way.is_some() {
                state.way = way;
            }
        }
        state.keepalive = wanted.keepalive;
    }

    pub(crate) fn tunnel(&self) -> MutexGuard<'_, Tunn> {
        self.tunnel.lock().expect("no holder of this lock panics")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn way(&self) -> Option<Way> {
        self.state().way.clone()
    }

    /// An authentic datagram of `bytes` came by `way`.
    pub(crate) fn heard(&self, way: &Way, bytes: usize) {
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        let mut state = self.state();
        if state.way.as_ref() != Some(way) {
            state.way = Some(way.clone());
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether nothing was sent for as long as the keepalive allows. Called at every turn of the timers, whose period is
    /// its precision.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let sent = self.sent_bytes.load(Ordering::Relaxed);
        let mut state = self.state();
        let Some(period) = state.keepalive else {
            return false;
        };
        if sent != state.sent_before {
            state.sent_before = sent;
            state.sent_at = Some(now);
        }
        let silent = state.sent_at.is_none_or(|at| now - at >= period);
        if silent {
            state.sent_at = Some(now);
        }
        silent
    }

    pub(crate) fn note_handshake(&self, now: Instant, ago: Option<Duration>) {
        if let Some(at) = ago.and_then(|ago| now.checked_sub(ago)) {
            self.state().last_handshake = Some(at);
        }
    }

    pub(crate) fn status(&self, now: Instant) -> PeerStatus {
        let fresh = self.tunnel().time_since_last_handshake();
        self.note_handshake(now, fresh);
        let state = self.state();
        PeerStatus {
            public_key: self.key,
            last_handshake: state.last_handshake.map(|at| now - at),
            rx_bytes: self.received_bytes.load(Ordering::Relaxed),
            tx_bytes: self.sent_bytes.load(Ordering::Relaxed),
            endpoint: state.way.as_ref().and_then(Way::endpoint),
        }
    }
}
