//! The tunnels between servers, over which machines of one network reach each other wherever they are.
//!
//! Every server has one WireGuard interface with one peer per other server. A peer may send as the machines of its own
//! hosts only, network by network as its catalog says, and as the hosts themselves; what arrives is looked at again by the
//! firewall, which lets it into machines of the same network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_fleet_api::{Roster, RosterServer};
use mayfly_host_api::{Catalog, host_address};
use mayfly_mesh::{InterfaceShape, interface_routes, shape_interface, tunnel_name};
use mayfly_runtime::{Stop, TaskSet, report};
use mayfly_seal::write_private;
use mayfly_types::{HostId, IpRange, NetworkId};
use mayfly_wireguard::{EngineChoice, Interface, InterfaceConfig, PeerConfig, PrivateKey};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// What the smallest usual path carries, less what WireGuard puts around a packet over IPv6.
const MTU: u32 = 1420;
/// Ways through translators stay open, and a peer that moved is heard.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The prefix of one host in one network.
const HOST_PREFIX: u8 = 80;
const FAREWELL: Duration = Duration::from_secs(2);
const SHAPE_AGAIN: Duration = Duration::from_secs(2);

pub(crate) struct Tunnels {
    interface: Interface,
    own: Vec<HostId>,
    server: HostId,
}

impl Tunnels {
    /// Opens this server's end at `listen` (UDP). Without TUN devices there is none, which is said in the log: machines of
    /// other servers are out of reach then.
    pub(crate) fn open(
        directory: &Path,
        tag: &str,
        listen: SocketAddr,
        engine: EngineChoice,
        own: Vec<HostId>,
    ) -> anyhow::Result<Option<Self>> {
        let name = tunnel_name(tag);
        let private_key = key(&directory.join("tunnel.key"))?;
        let config = InterfaceConfig {
            name: name.clone(),
            private_key,
            listen,
            engine,
        };
        let interface = match Interface::open(config) {
            Ok(interface) => interface,
            Err(problem) => {
                error!(
                    interface = name,
                    error = report(&problem),
                    "no tunnels: machines of other servers cannot be reached"
                );
                return Ok(None);
            }
        };
        // Where IPv6 is off for new interfaces.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0");
        let tunnels = Self {
            interface,
            server: own[0],
            own,
        };
        // The addresses first: the backhaul listens on them. What a tunnel of an earlier process carries goes on.
        interface_routes(&name)
            .and_then(|routes| shape_interface(&tunnels.shape(routes)))
            .context("prepare the tunnels")?;
        let interface = &tunnels.interface;
        info!(
            interface = name,
            address = %interface.address(),
            wireguard = %interface.engine(),
            "tunnels ready"
        );
        Ok(Some(tunnels))
    }

    /// The interface's name.
    pub(crate) fn interface(&self) -> String {
        self.interface.name().to_owned()
    }

    /// In base64.
    pub(crate) fn public_key(&self) -> String {
        self.interface.public_key().to_string()
    }

    /// Where this server's hosts are reached by others.
    pub(crate) fn addresses(&self) -> Vec<Ipv6Addr> {
        self.own.iter().map(|host| host_address(*host)).collect()
    }

    /// Moves packets, and follows who is in the fleet and which networks are where, until told to stop.
    pub(crate) async fn run(
        self,
        mut roster: watch::Receiver<Arc<Roster>>,
        mut others: watch::Receiver<BTreeMap<HostId, Catalog>>,
        stop: Stop,
    ) {
        let tasks = TaskSet::under(&stop);
        let interface = self.interface.clone();
        tasks
            .spawn("fleet.tunnels", |stop| async move {
                if let Err(problem) = interface.run(stop).await {
                    error!(error = report(&problem), "tunnels broke");
                }
            })
            .await;
        let mut applied: Option<(Vec<PeerConfig>, bool)> = None;
        loop {
            let peers = self.peers(&roster.borrow_and_update(), &others.borrow_and_update());
            let is_new = applied.as_ref().is_none_or(|(known, _)| *known != peers);
            let mut shaped = applied.as_ref().is_some_and(|(_, shaped)| *shaped);
            if is_new || !shaped {
                let routes = peers.iter().flat_map(|peer| peer.allowed_ips.clone());
                let shape = self.shape(routes.collect());
                let told = self
                    .interface
                    .set_peers(&peers)
                    .context("tell WireGuard its peers");
                let done = tokio::task::spawn_blocking(move || shape_interface(&shape)).await;
                let done = done
                    .expect("netlink does not panic")
                    .context("shape their interface");
                shaped = match told.and(done) {
                    Ok(()) => true,
                    Err(problem) => {
                        warn!(
                            error = format!("{problem:#}"),
                            "tunnels not as they should be"
                        );
                        false
                    }
                };
            }
            applied = Some((peers, shaped));
            tokio::select! {
                () = stop.cancelled() => break,
                changed = roster.changed() => if changed.is_err() { break },
                changed = others.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(SHAPE_AGAIN), if !shaped => {}
            }
        }
        stop.cancelled().await;
        tasks.shut_down(FAREWELL).await;
    }

    fn peers(&self, roster: &Roster, catalogs: &BTreeMap<HostId, Catalog>) -> Vec<PeerConfig> {
        let others = roster.servers.iter();
        let others = others.filter(|server| server.id != self.server);
        others
            .filter_map(|server| {
                let tunnel = server.tunnel.as_ref()?;
                let public_key = tunnel.public_key.parse().ok()?;
                Some(PeerConfig {
                    public_key,
                    preshared_key: None,
                    endpoint: Some(tunnel.endpoint),
                    allowed_ips: allowed(server, catalogs),
                    keepalive: Some(KEEPALIVE),
                })
            })
            .collect()
    }

    fn shape(&self, routes: BTreeSet<IpRange>) -> InterfaceShape {
        InterfaceShape {
            name: self.interface.name().to_owned(),
            mtu: MTU,
            addresses: self.addresses().into_iter().map(IpAddr::V6).collect(),
            routes,
        }
    }
}

/// As what a server's hosts may send: as themselves, and as their machines in each network they have some in.
fn allowed(server: &RosterServer, catalogs: &BTreeMap<HostId, Catalog>) -> Vec<IpRange> {
    let mut ranges = BTreeSet::new();
    for host in &server.hosts {
        ranges.insert(range_of(NetworkId(0), host.id));
        let entries = catalogs
            .get(&host.id)
            .into_iter()
            .flat_map(|all| all.iter());
        for entry in entries {
            ranges.insert(range_of(entry.network, host.id));
        }
    }
    ranges.into_iter().collect()
}

fn range_of(network: NetworkId, host: HostId) -> IpRange {
    let first = mayfly_mesh::private_ip(network, host, 0);
    IpRange::new(first.into(), HOST_PREFIX).expect("IPv6 has more bits")
}

/// The key of this server's tunnels, made at the first start.
fn key(path: &Path) -> anyhow::Result<PrivateKey> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let key = text.trim().parse();
            key.with_context(|| format!("read {}", path.display()))
        }
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
            let key = PrivateKey::generate();
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)
                    .with_context(|| format!("make {}", directory.display()))?;
            }
            write_private(path, key.reveal().as_bytes())
                .with_context(|| format!("write {}", path.display()))?;
            Ok(key)
        }
        Err(problem) => Err(problem).with_context(|| format!("read {}", path.display())),
    }
}
