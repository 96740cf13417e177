//! Doors that come and go: addresses that belong to one app, and ports beside 80 and 443 of shared ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::Reach as Published;
use mayfly_machine::{Handler, PortSpec, Protocol};
use mayfly_runtime::Stop;
use mayfly_types::Region;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::fleet::{App, Fleet, Table};

use super::{Door, Reach, socket};

/// How often the table is looked at for changes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How soon an address that could not be bound is tried again: it may come to this server later.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// Ports of a range that get a listener on every core; each one after them is served by one core.
const PORTS_ON_ALL_CORES: usize = 64;

/// What a core is told.
#[derive(Debug)]
pub(super) enum Change {
    Open(Door, TcpListener),
    OpenUdp(Door, UdpSocket),
    Close(Key),
}

/// What is listened at.
pub(super) type Key = (SocketAddr, bool);

pub(super) fn key(door: &Door, protocol: Protocol) -> Key {
    (door.address(), protocol == Protocol::Udp)
}

/// Opens and closes doors on all cores as the table wants them.
pub(super) struct Doors {
    pub(super) fleet: Arc<Fleet>,
    pub(super) region: Region,
    pub(super) with_everywhere: bool,
    pub(super) cores: Vec<mpsc::UnboundedSender<Change>>,
    /// Listened at already, for everybody.
    pub(super) taken: [SocketAddr; 2],
    pub(super) open: BTreeSet<Key>,
    pub(super) failed: BTreeSet<Key>,
}

impl Doors {
    /// Follows the table until `stop`.
    pub(super) async fn run(mut self, stop: Stop) {
        let mut seen: Option<Arc<Table>> = None;
        let mut try_again_at = Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let table = self.fleet.table();
            let same = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &table));
            let again = !self.failed.is_empty() && Instant::now() >= try_again_at;
            if same && !again {
                continue;
            }
            self.follow(&table);
            seen = Some(table);
            try_again_at = Instant::now() + BIND_AGAIN;
        }
    }

    fn follow(&mut self, table: &Table) {
        let mut wanted = BTreeMap::new();
        for app in table.apps() {
            for (door, protocol, spread) in doors_of(app, &self.region, self.with_everywhere) {
                if !self.taken.contains(&door.address()) {
                    wanted.insert(key(&door, protocol), (door, spread));
                }
            }
        }
        let gone: Vec<Key> = self
            .open
            .iter()
            .filter(|key| !wanted.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            self.open.remove(&key);
            for core in &self.cores {
                // A core that has ended has closed everything.
                let _ = core.send(Change::Close(key));
            }
        }
        self.failed.retain(|key| wanted.contains_key(key));
        for (key, (door, spread)) in wanted {
            if self.open.contains(&key) {
                continue;
            }
            match self.open(&door, key.1, spread) {
                Ok(()) => {
                    self.open.insert(key);
                    self.failed.remove(&key);
                    tracing::info!(address = %key.0, udp = key.1, "door opened");
                }
                Err(error) => {
                    if self.failed.insert(key) {
                        tracing::warn!(address = %key.0, udp = key.1, error = %error, "door not opened; tried again");
                    }
                }
            }
        }
    }

    fn open(&self, door: &Door, udp: bool, spread: bool) -> io::Result<()> {
        let place = usize::from(door.port) % self.cores.len();
        let mut changes = Vec::new();
        for (index, core) in self.cores.iter().enumerate() {
            if udp && index == place {
                changes.push((
                    core,
                    Change::OpenUdp(*door, socket::datagrams(door.address())?),
                ));
            } else if !udp && (spread || index == place) {
                changes.push((core, Change::Open(*door, socket::listen(door.address())?)));
            }
        }
        for (core, change) in changes {
            let _ = core.send(change);
        }
        Ok(())
    }
}

/// Every door an app wants in `region`, and whether all cores shall listen at it.
fn doors_of<'a>(
    app: &'a App,
    region: &'a Region,
    with_everywhere: bool,
) -> impl Iterator<Item = (Door, Protocol, bool)> + 'a {
    let addresses = app
        .directory
        .iter()
        .flat_map(|directory| &directory.addresses)
        .filter(move |address| match &address.region {
            Some(only) => only == region,
            None => with_everywhere,
        });
    addresses.flat_map(|address| {
        let reach = match address.reach {
            Published::Dedicated => Reach::Dedicated,
            Published::Shared => Reach::Shared,
            Published::Private(network) => Reach::Private(network),
        };
        let services = app.services.iter().map(|service| service.spec());
        let ports = services.flat_map(|spec| spec.ports.iter().map(|port| (spec.protocol, port)));
        ports
            .filter(move |(protocol, port)| is_reachable(reach, *protocol, port))
            .flat_map(move |(protocol, port)| {
                (port.first..=port.last)
                    .enumerate()
                    .filter(move |(_, port)| reach != Reach::Shared || !matches!(port, 80 | 443))
                    .map(move |(place, port)| {
                        let door = Door {
                            ip: address.ip,
                            port,
                            bound: port,
                            reach,
                        };
                        (door, protocol, place < PORTS_ON_ALL_CORES)
                    })
            })
    })
}

/// <https://fly.io/docs/networking/services/>: a shared address finds its app by name, which only TLS tells; datagrams
/// need an address of their own.
fn is_reachable(reach: Reach, protocol: Protocol, port: &PortSpec) -> bool {
    match reach {
        Reach::Dedicated => true,
        Reach::Private(_) => protocol == Protocol::Tcp,
        Reach::Shared => protocol == Protocol::Tcp && port.handlers.contains(&Handler::Tls),
    }
}
