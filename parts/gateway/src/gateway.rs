use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::{Directory, DirectoryPeer, GatewayApi, GatewayInfo, PeerReport, peer_range};
use mayfly_mesh::{InterfaceShape, Mesh, MeshError, shape_interface};
use mayfly_net::TlsServer;
use mayfly_runtime::{Backoff, Stop, TaskSet, report};
use mayfly_types::{HostId, IpRange, PeerKey, Region};
use mayfly_wireguard::{
    Engine, EngineChoice, Interface, InterfaceConfig, InterfaceError, PeerConfig, PeerStatus,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::door::Door;
use crate::endpoints::Endpoints;
use crate::error::GatewayError;
use crate::identity;

/// What WireGuard leaves of the usual 1,500 bytes, whatever carries it.
const MTU: u32 = 1420;
/// How often it is written down where devices are.
const REMEMBER: Duration = Duration::from_secs(2);
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    most: Duration::from_secs(5),
};
const PATIENCE: Duration = Duration::from_secs(5);

/// The gateway of one region.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    pub region: Region,
    /// The host it leads into.
    pub host_id: HostId,
    /// For UDP; port 0 chooses one.
    pub listen: SocketAddr,
    /// For tunnels over WebSockets (TCP with TLS).
    pub websocket_listen: Option<SocketAddr>,
    /// What devices are told to connect to.
    pub endpoint: String,
    /// Whose WireGuard it uses.
    pub wireguard: EngineChoice,
    /// Holds the key and what is remembered.
    pub directory: PathBuf,
}

/// What a gateway stands on.
pub struct GatewayDeps {
    pub mesh: Mesh,
    pub directory: watch::Receiver<Arc<Directory>>,
}

/// A gateway with its addresses bound; nobody is let in before [`Gateway::run`].
pub struct Gateway {
    info: GatewayInfo,
    interface: Interface,
    door: Option<Door>,
    mesh: Mesh,
    directory: watch::Receiver<Arc<Directory>>,
    admitted: watch::Sender<Arc<BTreeSet<PeerKey>>>,
    endpoints: Endpoints,
}

impl GatewayConfig {
    /// Makes the interface and binds the addresses.
    pub async fn build(self, deps: GatewayDeps) -> Result<Gateway, GatewayError> {
        let path = self.directory.join(format!("{}.key", self.region));
        let key =
            identity::load_or_make(&path).map_err(|source| GatewayError::Key { path, source })?;
        let interface = Interface::open(InterfaceConfig {
            name: deps.mesh.gateway_interface(&self.region),
            private_key: key,
            listen: self.listen,
            engine: self.wireguard,
        })?;
        let door = match self.websocket_listen {
            None => None,
            Some(address) => Some(open_door(address, &self.endpoint, &interface).await?),
        };
        let websocket_port = door.as_ref().map(|(_, port)| *port);
        let info = GatewayInfo {
            region: self.region.clone(),
            host_id: self.host_id,
            public_key: interface.public_key(),
            endpoint: self.endpoint,
            port: interface.address().port(),
            websocket_port,
            wireguard: interface.engine().to_string(),
        };
        info!(
            region = %info.region,
            wireguard = info.wireguard,
            address = %interface.address(),
            websocket_port,
            "gateway for users' devices"
        );
        let remembered = self.directory.join(format!("{}.endpoints", self.region));
        Ok(Gateway {
            info,
            interface,
            door: door.map(|(door, _)| door),
            mesh: deps.mesh,
            directory: deps.directory,
            admitted: watch::Sender::default(),
            endpoints: Endpoints::open(remembered),
        })
    }
}

async fn open_door(
    address: SocketAddr,
    endpoint: &str,
    interface: &Interface,
) -> Result<(Door, u16), GatewayError> {
    let listen = |source| GatewayError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let port = listener.local_addr().map_err(listen)?.port();
    let made = rcgen::generate_simple_self_signed(vec![endpoint.to_owned()])?;
    let tls = TlsServer::new(
        vec![made.cert.der().to_vec()],
        made.signing_key.serialize_der(),
    )?;
    let door = Door {
        listener,
        tls,
        interface: interface.clone(),
    };
    Ok((door, port))
}

/// Why devices could not be let in or cut off.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("tell WireGuard its peers")]
    Wireguard(#[from] InterfaceError),
    #[error("open the way into the network")]
    Mesh(#[from] MeshError),
}

/// What others ask of a gateway.
struct Handle {
    info: GatewayInfo,
    interface: Interface,
    admitted: watch::Receiver<Arc<BTreeSet<PeerKey>>>,
}

impl GatewayApi for Handle {
    fn info(&self) -> GatewayInfo {
        self.info.clone()
    }

    fn admitted(&self) -> watch::Receiver<Arc<BTreeSet<PeerKey>>> {
        self.admitted.clone()
    }

    fn peers(&self) -> Vec<PeerReport> {
        self.interface
            .status()
            .into_iter()
            .map(peer_report)
            .collect()
    }
}

fn peer_report(status: PeerStatus) -> PeerReport {
    PeerReport {
        public_key: status.public_key,
        last_handshake: status.last_handshake,
        rx_bytes: status.rx_bytes,
        tx_bytes: status.tx_bytes,
        endpoint: status.endpoint,
    }
}

impl Gateway {
    /// The name of its interface.
    pub fn interface(&self) -> &str {
        self.interface.name()
    }

    pub fn handle(&self) -> Arc<dyn GatewayApi> {
        Arc::new(Handle {
            info: self.info.clone(),
            interface: self.interface.clone(),
            admitted: self.admitted.subscribe(),
        })
    }

    /// Serves until `stop`. If the interface is taken away from it, it says so and ends: devices then use another
    /// gateway or wait for the next start.
    pub async fn run(mut self, stop: Stop) {
        let tasks = TaskSet::under(&stop);
        if let Some(door) = self.door.take() {
            tasks.spawn("gateway.door", |stop| door.run(stop)).await;
        }
        let interface = self.interface.clone();
        tasks
            .spawn("gateway.interface", |stop| async move {
                if let Err(failure) = interface.run(stop).await {
                    error!(error = report(&failure), "tunnels of users' devices ended");
                }
            })
            .await;
        self.follow(&stop).await;
        tasks.shut_down(PATIENCE).await;
        self.remember();
        // A device that was let in must not find the way open when nobody decrypts for it. The kernel does without us.
        if self.interface.engine() == Engine::Userspace
            && let Err(failure) = self.admit(&[]).await
        {
            warn!(error = report(&failure), "users' devices stay admitted");
        }
    }

    /// Keeps peers, routes and firewall in step with the directory.
    async fn follow(&mut self, stop: &Stop) {
        let mut failures = 0;
        let mut called = false;
        let mut look = tokio::time::interval(REMEMBER);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let directory = Arc::clone(&self.directory.borrow_and_update());
            let ours = |peer: &&Arc<DirectoryPeer>| {
                peer.host_id == self.info.host_id && peer.region == self.info.region
            };
            let peers: Vec<Arc<DirectoryPeer>> =
                directory.peers.iter().filter(ours).cloned().collect();
            let pause = match self.admit(&peers).await {
                Ok(()) => {
                    failures = 0;
                    let keys = peers.iter().map(|peer| peer.public_key).collect();
                    self.admitted.send_replace(Arc::new(keys));
                    if !called && !peers.is_empty() {
                        called = true;
                        self.call_back();
                    }
                    Duration::MAX
                }
                Err(failure) => {
                    failures += 1;
                    warn!(
                        error = report(&failure),
                        "users' devices could not be let in; trying again"
                    );
                    RETRY.pause(failures)
                }
            };
            let again = tokio::time::sleep(pause);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut again => break,
                    changed = self.directory.changed() => match changed {
                        Ok(()) => break,
                        // Whoever published is gone: go on with the last thing known.
                        Err(_) => return stop.cancelled().await,
                    },
                    _ = look.tick() => self.remember(),
                }
            }
        }
    }

    /// Lets exactly these devices in. Who is not named any more is cut off first.
    async fn admit(&self, peers: &[Arc<DirectoryPeer>]) -> Result<(), Closed> {
        let wanted: Vec<PeerConfig> = peers.iter().map(|peer| self.wanted(peer)).collect();
        self.interface.set_peers(&wanted)?;
        let first: BTreeSet<Ipv6Addr> = peers
            .iter()
            .map(|peer| Ipv6Addr::from_bits(peer.ip.to_bits() & !0xff))
            .collect();
        let name = self.interface.name();
        self.mesh.admit_peers(name, first).await?;
        let shape = InterfaceShape {
            name: name.to_owned(),
            mtu: MTU,
            addresses: BTreeSet::new(),
            routes: peers
                .iter()
                .map(|peer| peer_range(peer.ip))
                .collect::<BTreeSet<IpRange>>(),
        };
        let shaped = tokio::task::spawn_blocking(move || shape_interface(&shape)).await;
        Ok(shaped.expect("shaping an interface does not panic")?)
    }

    fn wanted(&self, peer: &DirectoryPeer) -> PeerConfig {
        PeerConfig {
            public_key: peer.public_key,
            preshared_key: None,
            endpoint: self.endpoints.at_start().get(&peer.public_key).copied(),
            allowed_ips: vec![peer_range(peer.ip)],
            keepalive: None,
        }
    }

    /// Asks devices that were connected to the process before this one for new keys.
    fn call_back(&self) {
        for key in self.endpoints.at_start().keys() {
            self.interface.call(key);
        }
    }

    fn remember(&mut self) {
        let peers: Vec<PeerReport> = self
            .interface
            .status()
            .into_iter()
            .map(peer_report)
            .collect();
        if let Err(failure) = self.endpoints.keep(&peers) {
            warn!(
                error = report(&failure),
                "it could not be written down where users' devices are"
            );
        }
    }
}
