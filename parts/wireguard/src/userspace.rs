use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_sys::open_tun;
use mayfly_types::PeerKey;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::carrier::Relay;
use crate::error::InterfaceError;
use crate::interface::InterfaceConfig;
use crate::peer::{Peer, PeerConfig, PeerStatus};
use crate::receive::Receiver;
use crate::table::Table;
use crate::timers::MESSAGE_BYTES;
use crate::transport::{Udp, Way};

/// Both directions end at their next wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Handshakes a second beyond which a caller must prove that it is where it says, by a cookie.
const HANDSHAKES_UNDER_LOAD: u64 = 64;
/// Slots have 24 bits.
const SLOT_MASK: u32 = 0x00ff_ffff;

/// WireGuard in this process, over a TUN interface that goes with the last clone.
#[derive(Clone)]
pub(crate) struct Userspace(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) secret: StaticSecret,
    pub(crate) public: PublicKey,
    pub(crate) tun: AsyncFd<OwnedFd>,
    pub(crate) udp: Udp,
    table: RwLock<Arc<Table>>,
    /// Held while peers are changed, so that two changes cannot lose one another's.
    changing: Mutex<()>,
    next_slot: AtomicU32,
    /// Decides whether a handshake is looked at; peers' own never refuses, it would count everything twice.
    pub(crate) limiter: RateLimiter,
    unlimited: Arc<RateLimiter>,
}

impl Userspace {
    /// Makes the kernel's interface and binds the socket; nothing is moved before [`Userspace::run`]. Call it inside a
    /// runtime.
    ///
    /// # Errors
    /// `InterfaceError::Tun` without `/dev/net/tun`, without the right to make interfaces, or if the name is taken;
    /// `InterfaceError::Listen` if the address is.
    pub(crate) fn open(config: InterfaceConfig) -> Result<Userspace, InterfaceError> {
        let InterfaceConfig {
            name,
            private_key,
            listen,
            engine: _,
        } = config;
        // Deprecated for types whose descriptor may change under it; an `OwnedFd` keeps its own.
        #[allow(deprecated)]
        let tun = open_tun(&name).and_then(AsyncFd::new);
        let tun = tun.map_err(|source| InterfaceError::Tun {
            name: name.clone(),
            source,
        })?;
        let udp = Udp::bind(listen).map_err(|source| InterfaceError::Listen {
            address: listen,
            source,
        })?;
        let secret = private_key.secret();
        let public = PublicKey::from(&secret);
        Ok(Userspace(Arc::new(Inner {
            name,
            secret,
            public,
            tun,
            udp,
            table: RwLock::default(),
            changing: Mutex::default(),
            next_slot: AtomicU32::new(0),
            limiter: RateLimiter::new(&public, HANDSHAKES_UNDER_LOAD),
            unlimited: Arc::new(RateLimiter::new(&public, u64::MAX)),
        })))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it listens, with the port it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.udp.address()
    }

    pub(crate) fn public_key(&self) -> PeerKey {
        PeerKey::from_bytes(self.0.public.to_bytes())
    }

    /// Makes `wanted` the peers. Who stays with the same keys keeps sessions, counters and the place it was heard from;
    /// who is not named loses access at once.
    pub(crate) fn set_peers(&self, wanted: &[PeerConfig]) {
        let _changing = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = self.0.table();
        let mut new = Table::default();
        for config in wanted {
            let peer = old
                .by_key
                .get(&config.public_key)
                .filter(|peer| peer.preshared_key == config.preshared_key)
                .cloned()
                .unwrap_or_else(|| Arc::new(self.0.new_peer(config, &old, &new)));
            let way = config
                .endpoint
                .map(|endpoint| Way::Udp(self.0.udp.way_to(endpoint)));
            peer.reconcile(config, way);
            for range in &config.allowed_ips {
                new.by_address.insert(*range, Arc::clone(&peer));
            }
            new.by_slot.insert(peer.slot, Arc::clone(&peer));
            new.by_key.insert(peer.key, peer);
        }
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }

    /// Every peer's state, in the order of their keys.
    pub(crate) fn status(&self) -> Vec<PeerStatus> {
        let now = Instant::now();
        let table = self.0.table();
        let mut all: Vec<PeerStatus> = table.by_key.values().map(|peer| peer.status(now)).collect();
        all.sort_by_key(|status| status.public_key);
        all
    }

    /// Takes a datagram that did not come by UDP. If it is authentic, its sender is answered by `relay` from now on.
    pub(crate) fn deliver(&self, receiver: &mut Receiver, datagram: &[u8], relay: &Relay) {
        let table = self.0.table();
        receiver.take(&self.0, &table, datagram, &Way::Relay(relay.clone()));
        receiver.flush(&self.0);
    }

    /// Asks a peer for new keys now, where it was heard last. Nothing happens if it is unknown or was never heard.
    pub(crate) fn call(&self, peer: &PeerKey) {
        let table = self.0.table();
        let Some((peer, way)) = table
            .by_key
            .get(peer)
            .and_then(|peer| Some((peer, peer.way()?)))
        else {
            return;
        };
        let mut message = [0; MESSAGE_BYTES];
        let made = peer
            .tunnel()
            .format_handshake_initiation(&mut message, true);
        if let TunnResult::WriteToNetwork(datagram) = made {
            self.0.send_datagram(peer, &way, datagram);
        }
    }

    /// Moves packets until told to stop, or until the interface or the socket fails. One call per interface.
    pub(crate) async fn run(&self, stop: Stop) -> Result<(), InterfaceError> {
        // Each direction is a task, so that two cores may share the work.
        let tasks = TaskSet::under(&stop);
        let (report, mut failure) = mpsc::channel(1);
        let (sender, failed) = (Arc::clone(&self.0), report.clone());
        tasks
            .spawn("wireguard.send", |stop| async move {
                let sent = stop.run_until_cancelled(sender.send_packets()).await;
                let _ = failed.try_send(sent.unwrap_or(Ok(())));
            })
            .await;
        let receiver = Arc::clone(&self.0);
        tasks
            .spawn("wireguard.receive", |stop| async move {
                let received = stop.run_until_cancelled(receiver.receive_datagrams()).await;
                let _ = report.try_send(received.unwrap_or(Ok(())));
            })
            .await;
        let ended = tokio::select! {
            ended = failure.recv() => ended.unwrap_or(Ok(())),
            () = self.0.keep_time() => Ok(()),
        };
        tasks.shut_down(PATIENCE).await;
        ended
    }
}

impl Inner {
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn new_peer(&self, config: &PeerConfig, old: &Table, new: &Table) -> Peer {
        let taken = |slots: &HashMap<u32, Arc<Peer>>, slot| slots.contains_key(&slot);
        let slot = loop {
            let slot = self.next_slot.fetch_add(1, Ordering::Relaxed) & SLOT_MASK;
            if !taken(&old.by_slot, slot) && !taken(&new.by_slot, slot) {
                break slot;
            }
        };
        let tunnel = Tunn::new(
            self.secret.clone(),
            PublicKey::from(*config.public_key.as_bytes()),
            config.preshared_key.as_ref().map(|key| key.bytes()),
            None,
            slot,
            Some(Arc::clone(&self.unlimited)),
        );
        Peer::new(config, slot, tunnel)
    }
}

impl fmt::Debug for Userspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Userspace")
            .field("name", &self.0.name)
            .field("address", &self.address())
            .field("peers", &self.0.table().by_key.len())
            .finish()
    }
}
