//! This server as one of several: its identity, the others, and whoever leads them.

mod late_door;
mod lead;
mod member;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use mayfly_certs::{RoleAuthority, RoleKey};
use mayfly_control::{DirectoryFeed, FleetDeps, HostDialer};
use mayfly_edge_api::Directory;
use mayfly_fleet::{
    FleetImages, Follower, LedApi, LedRegistry, Link, Listener, ListenerDeps, Membership, Passage,
    Peers, Published,
};
use mayfly_fleet_api::{
    CONTROL_NAME, Call, ControlDoor, Hello, Roster, RosterHost, RosterServer, TunnelEnd,
    server_name,
};
use mayfly_host::Host;
use mayfly_host_api::{Catalog, HostApi};
use mayfly_image::ImageStore;
use mayfly_net::{DoorwayListener, LedFor, MutualTls};
use mayfly_runtime::{Clock, Entropy, TaskSet};
use mayfly_seal::Sealer;
use mayfly_types::HostId;
use mayfly_wireguard::EngineChoice;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::control_plane::LateControl;
use crate::fleet_config::FleetSettings;
use crate::led_doors::LedDoors;
use crate::tunnels::Tunnels;
use late_door::LateDoor;
use lead::{Lead, keep_roster, kept_roster};
use member::{join, obey_removal};

/// Below the data directory.
const DIRECTORY: &str = "fleet";
const ROSTER: &str = "roster.json";
/// Images of this server's hosts that are fetched at once, and users that push here.
const REGISTRY_CONNECTIONS_MAX: usize = 256;

/// The part of this server that others see, before anything is served.
pub(crate) struct Fleet {
    listener: TcpListener,
    tls: Arc<MutualTls>,
    pub(crate) peers: Peers,
    roster: watch::Receiver<Arc<Roster>>,
    tunnels: Option<Tunnels>,
    role: Role,
}

enum Role {
    /// The control plane is here.
    Lead(Box<Lead>),
    /// It is on another server.
    Member(Box<Member>),
}

struct Member {
    membership: Membership,
    follower: Follower,
    control: Link,
}

/// What a server needs to become one of several.
pub(crate) struct FleetParts<'a> {
    pub(crate) settings: &'a FleetSettings,
    pub(crate) data_dir: &'a Path,
    pub(crate) hosts: &'a [Host],
    pub(crate) images: &'a ImageStore,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) entropy: &'a Arc<dyn Entropy>,
    /// Tells this daemon's things in the kernel from those of others.
    pub(crate) tag: &'a str,
    /// Whose WireGuard the tunnels use.
    pub(crate) wireguard: EngineChoice,
}

/// What the others may ask of this server, and what it tells them.
pub(crate) struct ThisServer {
    pub(crate) hosts: Vec<Host>,
    pub(crate) images: ImageStore,
    /// Where it is on this server.
    pub(crate) registry: Option<LedRegistry>,
    pub(crate) control: Option<LateControl>,
    /// The API, where the control plane is.
    pub(crate) api: Option<Router>,
    pub(crate) directory: DirectoryFeed,
    /// The catalogs of the others' hosts.
    pub(crate) others: watch::Receiver<BTreeMap<HostId, Catalog>>,
    pub(crate) uploads: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Whether this server is, or is about to be, a member of a fleet that another one leads.
pub(crate) fn is_member(settings: &FleetSettings, data_dir: &Path) -> anyhow::Result<bool> {
    let joined = Membership::load(&data_dir.join(DIRECTORY)).context("read the membership")?;
    Ok(joined.is_some() || settings.join.is_some())
}

impl Fleet {
    /// The first server of a fleet: it has the authority that all others get their identities from.
    pub(crate) async fn lead(
        parts: FleetParts<'_>,
        listen: SocketAddr,
        sealer: &Sealer,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen).await?;
        let port = listener
            .local_addr()
            .context("read the fleet's own address")?
            .port();
        let address = match &parts.settings.advertise {
            Some(address) => address.clone(),
            None if listen.ip().is_unspecified() => anyhow::bail!(
                "other servers cannot be told {}: say how they reach this one with --fleet-advertise ADDRESS:PORT (fleet.advertise)",
                listen.ip()
            ),
            None => SocketAddr::new(listen.ip(), port).to_string(),
        };
        let now = parts.clock.now();
        let tunnels = tunnels(&parts, SocketAddr::new(listen.ip(), port))?;
        let tunnel = match &tunnels {
            Some(tunnels) => Some(TunnelEnd {
                public_key: tunnels.public_key(),
                endpoint: resolved(&address).await?,
            }),
            None => None,
        };
        let roster_file = parts.data_dir.join(DIRECTORY).join(ROSTER);
        let directory = parts.data_dir.join(DIRECTORY).join("authority");
        let authority = RoleAuthority::open(&directory, sealer, now, parts.entropy.as_ref())
            .context("open the fleet's authority")?;
        let own = parts.hosts[0].host_id();
        let lead = Lead {
            authority: Arc::new(authority),
            key: RoleKey::generate().context("make this server's identity")?,
            names: vec![CONTROL_NAME.to_owned(), server_name(own)],
            lifetime: parts.settings.identity_lifetime,
            address,
            tunnel,
            roster: watch::Sender::new(Arc::new(kept_roster(&roster_file))),
            roster_file,
        };
        let chain = lead.sign(&**parts.clock, &**parts.entropy)?;
        let tls =
            Arc::new(MutualTls::new(&lead.papers(&chain)).context("use this server's identity")?);
        let peers = Peers::new(tls.clone(), own);
        parts
            .images
            .set_peers(Arc::new(FleetImages::new(peers.clone())));
        Ok(Self {
            listener,
            tls,
            peers,
            roster: lead.roster.subscribe(),
            tunnels,
            role: Role::Lead(Box::new(lead)),
        })
    }

    /// A server that joined a fleet, or joins one now: then it waits until the fleet has taken it on.
    pub(crate) async fn member(
        parts: FleetParts<'_>,
        directory: &DirectoryFeed,
    ) -> anyhow::Result<Self> {
        let settings = parts.settings;
        let listener = bind(settings.listen_as_member()).await?;
        let port = listener
            .local_addr()
            .context("read the fleet's own address")?
            .port();
        let place = parts.data_dir.join(DIRECTORY);
        let listen = SocketAddr::new(settings.listen_as_member().ip(), port);
        let tunnels = tunnels(&parts, listen)?;
        let mut hello = hello(&parts, port).await;
        hello.tunnel_key = tunnels.as_ref().map(Tunnels::public_key);
        let known = Membership::load(&place).context("read the membership")?;
        let membership = match known {
            Some(mut membership) => {
                if let Some(join) = &settings.join {
                    membership
                        .set_control(&join.address)
                        .context("keep the membership")?;
                }
                membership
            }
            None => join(settings, &place, &hello).await?,
        };
        // The host that names the server comes first, whatever the order of regions is today.
        hello
            .hosts
            .sort_by_key(|host| host.id != membership.server());
        let tls = Arc::new(membership.tls().context("use this server's identity")?);
        let control = Link::new(
            tls.clone(),
            CONTROL_NAME.to_owned(),
            membership.control().to_owned(),
        );
        let sink = Arc::new(Sink(directory.clone()));
        let follower = Follower::open(&place, control.clone(), hello, sink);
        let peers = Peers::new(tls.clone(), membership.server());
        parts
            .images
            .set_peers(Arc::new(FleetImages::new(peers.clone())));
        Ok(Self {
            listener,
            tls,
            peers,
            roster: follower.roster(),
            tunnels,
            role: Role::Member(Box::new(Member {
                membership,
                follower,
                control,
            })),
        })
    }

    /// The interface of the tunnels, if there is one.
    pub(crate) fn tunnel_interface(&self) -> Option<String> {
        self.tunnels.as_ref().map(Tunnels::interface)
    }

    /// The domain of the fleet that was joined.
    pub(crate) fn domain(&self) -> Option<&str> {
        match &self.role {
            Role::Lead(_) => None,
            Role::Member(member) => Some(member.membership.domain()),
        }
    }

    /// Where the fleet was joined.
    pub(crate) fn joined_at(&self) -> Option<String> {
        match &self.role {
            Role::Lead(_) => None,
            Role::Member(member) => Some(member.membership.control().to_owned()),
        }
    }

    /// What the control plane of this server leads the others with.
    pub(crate) fn control_deps(&self) -> Option<FleetDeps> {
        match &self.role {
            Role::Member(_) => None,
            Role::Lead(lead) => Some(FleetDeps {
                authority: lead.authority.clone(),
                identity_lifetime: lead.lifetime,
                address: lead.address.clone(),
                tunnel: lead.tunnel.clone(),
                dialer: Arc::new(Dialer(self.peers.clone())),
                roster: lead.roster.clone(),
            }),
        }
    }

    /// Where edges of other servers reach this server's hosts.
    pub(crate) fn tunnel_addresses(&self) -> Vec<Ipv6Addr> {
        self.tunnels
            .as_ref()
            .map_or_else(Vec::new, Tunnels::addresses)
    }

    /// Who is in the fleet, as far as this server has heard.
    pub(crate) fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.clone()
    }

    /// How the control plane is reached, if it is on another server.
    pub(crate) fn control(&self) -> Option<&Link> {
        match &self.role {
            Role::Lead(_) => None,
            Role::Member(member) => Some(&member.control),
        }
    }

    /// Leads the edge's clients and this server's hosts to the registry of the first server.
    pub(crate) async fn lead_to_registry(
        &self,
        clients: DoorwayListener,
        hosts: TcpListener,
        tasks: &TaskSet,
    ) {
        let Some(control) = self.control() else {
            return;
        };
        let places = Arc::new(Semaphore::new(REGISTRY_CONNECTIONS_MAX));
        let of_clients = Passage {
            listener: clients,
            control: control.clone(),
            call: |LedFor(client)| Call::Registry { client },
            connections_max: REGISTRY_CONNECTIONS_MAX,
            places: places.clone(),
        };
        let of_hosts = Passage {
            listener: hosts,
            control: control.clone(),
            // Every program of this server finds the port: where they come from says nothing.
            call: |_| Call::Registry { client: None },
            connections_max: REGISTRY_CONNECTIONS_MAX,
            places,
        };
        tasks
            .spawn("fleet.registry.clients", |stop| of_clients.run(stop))
            .await;
        tasks
            .spawn("fleet.registry.hosts", |stop| of_hosts.run(stop))
            .await;
    }

    /// Begins to answer the others and to follow them.
    pub(crate) async fn spawn(self, tasks: &TaskSet, server: ThisServer) {
        let ThisServer {
            hosts,
            images,
            registry,
            control,
            api: router,
            directory,
            others,
            uploads,
            clock,
            entropy,
        } = server;
        let api: BTreeMap<HostId, Arc<dyn HostApi>> = hosts
            .iter()
            .map(|host| (host.host_id(), Arc::new(host.clone()) as Arc<dyn HostApi>))
            .collect();
        let control = control.map(|control| {
            let door = LateDoor {
                control,
                directory,
                roster: self.roster.clone(),
            };
            Arc::new(door) as Arc<dyn ControlDoor>
        });
        let led = router.map(|router| {
            let doors = LedDoors {
                router,
                roster: self.roster.clone(),
                others: others.clone(),
                stop: tasks.stop_token(),
            };
            Arc::new(doors) as Arc<dyn LedApi>
        });
        let deps = ListenerDeps {
            tls: self.tls.clone(),
            hosts: api,
            images,
            registry,
            api: led,
            control,
            roster: self.roster.clone(),
            uploads,
        };
        let listener = Listener::new(self.listener, deps);
        tasks.spawn("fleet", |stop| listener.run(stop)).await;
        if let Some(tunnels) = self.tunnels {
            let roster = self.roster.clone();
            tasks
                .spawn("fleet.tunnel", |stop| tunnels.run(roster, others, stop))
                .await;
        }
        let (peers, roster) = (self.peers, self.roster);
        tasks
            .spawn("fleet.peers", |stop| peers.run(roster, stop))
            .await;
        let tls = self.tls;
        match self.role {
            Role::Lead(lead) => {
                let (kept, file) = (lead.roster.subscribe(), lead.roster_file.clone());
                tasks
                    .spawn("fleet.roster", |stop| keep_roster(kept, file, stop))
                    .await;
                tasks
                    .spawn("fleet.identity", |stop| {
                        lead.keep_fresh(tls, clock, entropy, stop)
                    })
                    .await;
            }
            Role::Member(member) => {
                let Member {
                    membership,
                    follower,
                    control,
                } = *member;
                let standing = follower.standing();
                tasks
                    .spawn("fleet.removal", |stop| obey_removal(standing, hosts, stop))
                    .await;
                tasks
                    .spawn("fleet.identity", |stop| {
                        membership.keep_fresh(tls, control, clock, stop)
                    })
                    .await;
                tasks
                    .spawn("fleet.follower", |stop| follower.run(stop))
                    .await;
            }
        }
    }
}

/// The directory of a server without a control plane of its own.
struct Sink(DirectoryFeed);

impl Published for Sink {
    fn current(&self) -> Arc<Directory> {
        self.0.current()
    }

    fn replace(&self, directory: Directory) {
        self.0.replace(directory);
    }
}

struct Dialer(Peers);

impl HostDialer for Dialer {
    fn dial(&self, server: &RosterServer, host: &RosterHost) -> Arc<dyn HostApi> {
        Arc::new(self.0.meet(server, host))
    }
}

async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen} for other servers (fleet.listen)"))
}

fn tunnels(parts: &FleetParts<'_>, listen: SocketAddr) -> anyhow::Result<Option<Tunnels>> {
    let own = parts.hosts.iter().map(Host::host_id).collect();
    let directory = parts.data_dir.join(DIRECTORY);
    Tunnels::open(&directory, parts.tag, listen, parts.wireguard, own)
}

/// The address behind a name, as tunnels want it.
async fn resolved(address: &str) -> anyhow::Result<SocketAddr> {
    let found = tokio::net::lookup_host(address).await;
    let first = found
        .with_context(|| format!("find the address of {address} (fleet.advertise)"))?
        .next();
    first.with_context(|| format!("{address} has no address (fleet.advertise)"))
}

async fn hello(parts: &FleetParts<'_>, port: u16) -> Hello {
    let mut hosts = Vec::with_capacity(parts.hosts.len());
    for host in parts.hosts {
        let status = host.status().await;
        hosts.push(RosterHost {
            id: status.host_id,
            region: status.region,
            memory_mib: status.memory_mib,
            cpus: status.cpus,
        });
    }
    let listens_on_one = |ip: &IpAddr| !ip.is_unspecified();
    let listen = parts.settings.listen_as_member();
    let own = listens_on_one(&listen.ip()).then(|| SocketAddr::new(listen.ip(), port));
    let advertise = parts.settings.advertise.clone();
    Hello {
        hosts,
        address: advertise.clone().or(own.map(|address| address.to_string())),
        port,
        tunnel_key: None,
        tunnel_endpoint: advertise.and_then(|address| address.parse().ok()).or(own),
    }
}
