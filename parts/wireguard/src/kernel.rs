//! WireGuard of the kernel: a link that we make by rtnetlink and tell its peers by generic netlink.
//!
//! The link outlives this process, with its sessions: whoever opens it next under the same name takes it over.

mod device;
mod generic;
mod guard;
mod plan;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mayfly_netlink::{Socket, delete_link, find_link, new_link, set_link_up};
use mayfly_runtime::{Clock, Stop, SystemClock, report};
use mayfly_types::PeerKey;
use tracing::warn;

use self::device::Device;
use self::generic::Generic;
use self::plan::{Change, PeerChange, plan};
use crate::error::InterfaceError;
use crate::interface::InterfaceConfig;
use crate::peer::{PeerConfig, PeerStatus};
use crate::relay::{Inward, Outward, is_relay};

const KIND: &str = "wireguard";
/// How often it is looked whether the link is there.
const LOOK: Duration = Duration::from_secs(2);
/// Of a call: any that is not zero.
const CALL_SECONDS: u16 = 25;

/// A link of the kernel; cheap to clone. It stays when all clones are gone.
#[derive(Clone)]
pub(crate) struct Kernel(Arc<Inner>);

struct Inner {
    name: String,
    index: i32,
    public: PeerKey,
    address: SocketAddr,
    state: Mutex<State>,
}

/// Sockets belong to the network namespace that the link was made in, whoever uses them.
struct State {
    generic: Generic,
    route: Socket,
    /// Where each peer was wanted last. The kernel replaces that by where it hears from.
    endpoints: BTreeMap<PeerKey, Option<SocketAddr>>,
}

impl Kernel {
    /// Makes the link or takes over what is there; what could not be finished is taken away again.
    pub(crate) fn open(config: InterfaceConfig) -> Result<Kernel, InterfaceError> {
        let name = config.name.clone();
        let failed = |source| InterfaceError::Kernel {
            name: name.clone(),
            source,
        };
        let mut route = Socket::route().map_err(failed)?;
        match find_link(&mut route, &name).map_err(failed)? {
            Some(link) if link.kind == KIND => {}
            Some(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
            None => route.send_one(new_link(&name, KIND)).map_err(failed)?,
        }
        settle(&config, route).inspect_err(|_| {
            if let Err(problem) = remove(&name) {
                warn!(
                    interface = name,
                    error = report(&problem),
                    "an interface is left that does not work"
                );
            }
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn public_key(&self) -> PeerKey {
        self.0.public
    }

    pub(crate) fn set_peers(&self, wanted: &[PeerConfig]) -> Result<(), InterfaceError> {
        let set = self.0.state().set_peers(&self.0, wanted);
        set.map_err(|source| self.0.failed(source))
    }

    pub(crate) fn status(&self) -> Vec<PeerStatus> {
        let now = SystemClock.now();
        let device = self.0.state().generic.device(&self.0.name);
        let mut all: Vec<PeerStatus> = device
            .unwrap_or_default()
            .peers
            .into_iter()
            .map(|peer| PeerStatus {
                public_key: peer.public_key,
                last_handshake: peer.handshake_age(now),
                rx_bytes: peer.rx_bytes,
                tx_bytes: peer.tx_bytes,
                endpoint: peer.endpoint.filter(|endpoint| !is_relay(*endpoint)),
            })
            .collect();
        all.sort_by_key(|status| status.public_key);
        all
    }

    pub(crate) async fn relay(&self, from: IpAddr) -> Result<(Inward, Outward), InterfaceError> {
        Inward::to_kernel(self.0.address.port(), from).await
    }

    pub(crate) fn call(&self, key: &PeerKey) {
        if let Err(source) = self.0.state().call(&self.0, key) {
            let problem = self.0.failed(source);
            warn!(error = report(&problem), "a peer was not called");
        }
    }

    pub(crate) async fn run(&self, stop: Stop) -> Result<(), InterfaceError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            let there = find_link(&mut self.0.state().route, &self.0.name);
            if !there.is_ok_and(|link| link.is_some_and(|link| link.index == self.0.index)) {
                return Err(self.0.failed(io::ErrorKind::NotFound.into()));
            }
        }
    }
}

impl State {
    fn set_peers(&mut self, link: &Inner, wanted: &[PeerConfig]) -> io::Result<()> {
        let present = self.generic.device(&link.name)?;
        let now = SystemClock.now();
        let changes = plan(wanted, &present.peers, &self.endpoints, now);
        self.generic.apply(link.index, &changes)?;
        let endpoints = wanted.iter().map(|peer| (peer.public_key, peer.endpoint));
        self.endpoints = endpoints.collect();
        Ok(())
    }

    /// A keepalive that is switched on is sent at once, and asks for keys if there are none (`set_peer` of the kernel's
    /// `netlink.c`).
    fn call(&mut self, link: &Inner, key: &PeerKey) -> io::Result<()> {
        let device = self.generic.device(&link.name)?;
        let known = device.peers.iter().find(|peer| peer.public_key == *key);
        let Some(peer) = known.filter(|peer| peer.endpoint.is_some()) else {
            return Ok(());
        };
        let turns = [0, CALL_SECONDS, peer.keepalive_seconds];
        let changes = turns.map(|seconds| Change::Set(PeerChange::keepalive(*key, seconds)));
        self.generic.apply(link.index, &changes)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn failed(&self, source: io::Error) -> InterfaceError {
        InterfaceError::Kernel {
            name: self.name.clone(),
            source,
        }
    }
}

/// Gives the link its key and port and lets it listen, in this order: nobody is heard where nobody should be.
fn settle(config: &InterfaceConfig, mut route: Socket) -> Result<Kernel, InterfaceError> {
    let name = &config.name;
    let failed = |source| InterfaceError::Kernel {
        name: name.clone(),
        source,
    };
    let unheard = |source| InterfaceError::Listen {
        address: config.listen,
        source,
    };
    let link = find_link(&mut route, name).map_err(failed)?;
    let index = link
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
        .index;
    let mut generic = Generic::open().map_err(failed)?;
    let present = generic.device(name).map_err(failed)?;
    let address = listen_address(config.listen, &present).map_err(unheard)?;
    guard::set(name, address).map_err(failed)?;
    generic
        .set_device(index, &config.private_key, address.port())
        .map_err(unheard)?;
    route.send_one(set_link_up(index)).map_err(unheard)?;
    Ok(Kernel(Arc::new(Inner {
        name: name.clone(),
        index,
        public: config.private_key.public(),
        address,
        state: Mutex::new(State {
            generic,
            route,
            endpoints: BTreeMap::new(),
        }),
    })))
}

/// With its port. The kernel listens at all addresses and would take one that this server does not have.
fn listen_address(wanted: SocketAddr, present: &Device) -> io::Result<SocketAddr> {
    let probe = UdpSocket::bind((wanted.ip(), 0))?;
    let port = match wanted.port() {
        0 if present.port != 0 => present.port,
        0 => probe.local_addr()?.port(),
        port => port,
    };
    Ok(SocketAddr::new(wanted.ip(), port))
}

/// Takes a link of ours away, if the kernel has one of this name.
pub(crate) fn remove(name: &str) -> Result<(), InterfaceError> {
    let failed = |source| InterfaceError::Kernel {
        name: name.to_owned(),
        source,
    };
    let mut route = Socket::route().map_err(failed)?;
    let link = find_link(&mut route, name).map_err(failed)?;
    if let Some(link) = link.filter(|link| link.kind == KIND) {
        // Whoever finds no link need not look for a table.
        guard::clear(name).map_err(failed)?;
        route.send_one(delete_link(link.index)).map_err(failed)?;
    }
    Ok(())
}
