mod ground;
mod hosts;
mod image_files;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_control::{
    ControlConfig, ControlDeps, DirectoryFeed, EdgeAddress, LateRouter, Retention, Settings,
};
use mayfly_driver::{ContainerConfig, ContainerDriver};
use mayfly_edge::{
    Backhaul, Edge, EdgeConfig, EdgeDeps, FleetConfig, FleetSources, Keeper, StaticFiles,
};
use mayfly_fleet::LedRegistry;
use mayfly_gateway::Gateway;
use mayfly_host::{Host, Server};
use mayfly_host_api::{Catalog, HostApi};
use mayfly_image::{ImageStore, RegistryConfig};
use mayfly_mesh::API_PORT;
use mayfly_names::{ChallengeServer, NameServer, NamesConfig, Sources};
use mayfly_net::{Doorway, DoorwayListener};
use mayfly_runtime::{Clock, Entropy, LoopBoard, Stop, SystemClock, SystemEntropy};
use mayfly_types::HostId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::addresses::{self, AnsweredFor};
use crate::catalogs::Catalogs;
use crate::config::Config;
use crate::control_plane::{ControlPlane, Plan};
use crate::doors::{ApiPassages, BehindDoors, Doors};
use crate::fleet::{self, Fleet, FleetParts};
use crate::gateways;
use crate::host_places::{self, HostPlace};
use crate::local_registry::{self, Entrance, LocalRegistry, RegistryParts, UPSTREAM};
use crate::private_names::AskedForCallers;
use crate::readiness::Readiness;
use crate::traffic::{self, TrafficKeeper};
use crate::waker::HostWaker;
use ground::ControlGround;
use hosts::{HostParts, has_machines};
use image_files::ImageFiles;
pub(crate) use running::Running;

const DNS_PORT: u16 = 53;

/// All roles of one server in this process: built, with their addresses bound, and not serving yet.
pub(crate) struct Cloud {
    /// On the first server of a fleet, or the only one, with where its API listens.
    control: Option<(TcpListener, ControlPlane)>,
    fleet: Option<Fleet>,
    backhaul: Option<Backhaul>,
    directory: DirectoryFeed,
    others: watch::Receiver<BTreeMap<HostId, Catalog>>,
    hosts: Vec<Host>,
    catalogs: Catalogs,
    doors: Doors,
    traffic: TrafficKeeper,
    inner_listener: TcpListener,
    /// Lead machines to the API, if it is on another server.
    passages: Option<ApiPassages>,
    /// Where edges lead to the registry, which may be another server's.
    registry_listener: DoorwayListener,
    /// Where hosts are led to it, if it is another server's.
    distant_registry: Option<TcpListener>,
    led_registry: Option<LedRegistry>,
    keeper: Keeper,
    routes: Arc<mayfly_edge::Fleet>,
    driver: ContainerDriver,
    images: ImageStore,
    edges: Vec<Edge>,
    answered_for: AnsweredFor,
    edge_patience: Duration,
    edge_addresses: Vec<EdgeAddress>,
    gateways: Vec<Gateway>,
    domain: String,
    names: NameServer,
    challenges: Option<ChallengeServer>,
    requests: Stop,
    uploads: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Cloud {
    /// Opens the stores, prepares the kernel and binds the listeners. Whatever can be wrong with a setting is found
    /// here, before any machine is touched.
    ///
    /// `inherited` are listening sockets that a service manager holds; they are used where their address is configured.
    pub(crate) async fn build(
        config: &Config,
        inherited: &[std::net::TcpListener],
        readiness: &mut Readiness,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let board = LoopBoard::default();
        let ground = if fleet::is_member(&config.fleet, &config.data_dir)? {
            None
        } else {
            let open = ControlGround::open(config, inherited, readiness, &clock, &entropy);
            Some(open.await?)
        };

        readiness.step("opening the images")?;
        let mut fetching = config.images.clone();
        let (registry_doorway, registry_listener) = Doorway::new();
        let mut distant_registry = None;
        // The registry stands where the control plane is.
        let entrance = match &ground {
            None => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .context("listen for hosts that look for the registry")?;
                let address = listener.local_addr();
                let address = address.context("read the registry's own address")?;
                let there = RegistryConfig {
                    base_url: format!("http://{address}"),
                };
                distant_registry = Some(listener);
                fetching.registries.insert(UPSTREAM.to_owned(), there);
                None
            }
            Some(ground) => {
                let address = ground.listener.local_addr();
                let address = address.context("read the API's own address")?;
                Some(Entrance::tell(
                    &mut fetching,
                    &config.domain,
                    address,
                    &*entropy,
                ))
            }
        };
        let images = ImageStore::open(&config.data_dir.join("images"), fetching)
            .await
            .context("open the images")?;
        let registry = match entrance {
            None => None,
            Some(entrance) => {
                let parts = RegistryParts {
                    data_dir: &config.data_dir,
                    config: &config.registry,
                    entrance,
                    images: &images,
                    clock: &clock,
                    entropy: &entropy,
                    board: &board,
                };
                Some(LocalRegistry::open(parts).await?)
            }
        };

        let places = host_places::decide(&config.data_dir, &config.regions, async |place| {
            has_machines(&config.data_dir, place, &entropy).await
        })
        .await
        .context("decide which regions this server plays")?;
        for kept in &places {
            if !config.regions.is_empty() && !config.regions.contains(&kept.region) {
                warn!(region = %kept.region, "region is served on: machines live in it");
            }
        }

        readiness.step("preparing the kernel")?;
        let driver = ContainerDriver::start(ContainerConfig {
            data_dir: config.data_dir.clone(),
            more_hosts: places.iter().filter_map(HostPlace::name).collect(),
            images: Arc::new(images.clone()),
            clock: clock.clone(),
        })
        .await
        .context("prepare this server for machines")?;

        readiness.step("reading the journal")?;
        let server =
            Server::detect(driver.cgroups()).context("ask the kernel about this server")?;
        let directory = DirectoryFeed::open(config.data_dir.join("directory.json"));
        let hosts = HostParts {
            config,
            driver: &driver,
            images: &images,
            server: &server,
            directory: &directory,
            clock: &clock,
            entropy: &entropy,
            board: &board,
        };
        let hosts = hosts.build(&places).await?;

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = FleetParts {
            settings: &config.fleet,
            data_dir: &config.data_dir,
            hosts: &hosts,
            images: &images,
            clock: &clock,
            entropy: &entropy,
            tag: driver.tag(),
            wireguard: config.gateway.wireguard,
        };
        let fleet = match (&ground, config.fleet.listen) {
            (Some(_), None) => None,
            (Some(ground), Some(listen)) => {
                Some(Fleet::lead(parts, listen, &ground.certificates.sealer).await?)
            }
            (None, _) => {
                readiness.step("joining the fleet")?;
                Some(Fleet::member(parts, &directory).await?)
            }
        };
        let peers = fleet.as_ref().map(|fleet| fleet.peers.clone());
        let domain = fleet.as_ref().and_then(Fleet::domain);
        let domain = domain.unwrap_or(&config.domain).to_owned();
        let catalogs = Catalogs::of(hosts.iter().map(Host::catalog).collect(), peers.clone());
        let resolvers = server.nameservers.iter();
        let names = NamesConfig {
            listen: SocketAddrV6::new(driver.names_address(), DNS_PORT, 0, 0),
            cores,
            upstreams: resolvers
                .map(|address| (*address, DNS_PORT).into())
                .collect(),
        }
        .build(
            Sources {
                catalog: catalogs.whole(),
                directory: directory.subscribe(),
            },
            entropy.clone(),
        )
        .await?;
        let challenges = match config.certificates.challenges.clone() {
            None => None,
            Some(challenges) => Some(challenges.build(directory.subscribe()).await?),
        };
        let own = hosts.iter().map(|host| {
            let api: Arc<dyn HostApi> = Arc::new(host.clone());
            (host.host_id(), api)
        });
        let waker = HostWaker::new(own, peers);
        let (routes, keeper) = FleetConfig {
            domain: domain.clone(),
            region: places[0].region.clone(),
            autostop_period: config.autostop_period,
            latency: config.latency.clone(),
        }
        .build(
            FleetSources {
                catalogs: hosts.iter().map(Host::catalog).collect(),
                others: catalogs.others(),
                directory: directory.subscribe(),
            },
            Arc::new(waker),
            &*entropy,
        );
        let backhaul = match fleet.as_ref().map(Fleet::tunnel_addresses) {
            Some(own) if !own.is_empty() => {
                let bound = Backhaul::bind(&own, Arc::clone(&routes)).await;
                Some(bound.context("listen for edges of other servers")?)
            }
            _ => None,
        };
        let statics: Arc<dyn StaticFiles> = Arc::new(ImageFiles(hosts.clone()));
        let mut edges: Vec<Edge> = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            let first = edges.first();
            let http = first.map_or(config.edge_listen, Edge::address);
            let https = first.map_or(config.edge_https_listen, Edge::https_address);
            let edge = EdgeConfig {
                listen: config.edge_of(&place.region, index, http)?,
                https_listen: config.edge_of(&place.region, index, https)?,
                accept_proxy_protocol: config.edge_accept_proxy_protocol.clone(),
                serves_everywhere: index == 0,
                passages: [(local_registry::name_in(&domain), registry_doorway.clone())].into(),
                drain: config.edge_drain,
                http: config.edge_http.clone(),
                domain: domain.clone(),
                region: place.region.clone(),
                cores,
            }
            .build(EdgeDeps {
                fleet: Arc::clone(&routes),
                directory: directory.subscribe(),
                clock: clock.clone(),
                entropy: entropy.clone(),
                statics: Arc::clone(&statics),
                buckets: config.buckets.clone(),
                inherited: inherited
                    .iter()
                    .map(std::net::TcpListener::try_clone)
                    .collect::<std::io::Result<_>>()
                    .context("take over listening sockets")?,
            })?;
            edges.push(edge);
        }
        let edge_addresses: Vec<EdgeAddress> = places
            .iter()
            .zip(&edges)
            .map(|(place, edge)| EdgeAddress {
                region: place.region.clone(),
                address: edge.address(),
                https: edge.https_address(),
            })
            .collect();

        let pools = addresses::pools(&config.addresses, &edge_addresses, driver.tag());
        let answered_for = AnsweredFor::open(&config.data_dir, &pools, directory.subscribe())
            .context("answer for the addresses of apps")?;

        let directory_of_traffic = directory.subscribe();
        let gateways = gateways::open(config, &places, &hosts, &driver, &directory).await?;
        let mut used: BTreeSet<String> = gateways
            .iter()
            .map(|one| one.interface().to_owned())
            .collect();
        used.extend(fleet.as_ref().and_then(Fleet::tunnel_interface));
        driver.mesh().sweep_tunnels(used).await?;

        let requests = Stop::new();
        let uploads = config.data_dir.join("uploads");
        let control_config = ControlConfig {
            settings: Settings {
                domain: config.domain.clone(),
                api_url: match (&config.api_url, &ground) {
                    (Some(url), _) => url.clone(),
                    (None, Some(ground)) => {
                        let address = ground.listener.local_addr();
                        format!("http://{}", address.context("read the API's own address")?)
                    }
                    (None, None) => String::new(),
                },
                edges: edge_addresses.clone(),
                addresses: pools,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                certificates: config.certificates.settings.clone(),
                host_patience: config.fleet.host_patience,
                builder: config.builder.clone(),
                autoscale: config.autoscale,
                measured_enough: config.usage.enough,
                registry_names: registry
                    .as_ref()
                    .map(LocalRegistry::names)
                    .unwrap_or_default(),
                uploads: uploads.clone(),
            },
            retention: Retention::default(),
        };
        let led_registry = registry.as_ref().map(|registry| LedRegistry {
            names: registry.names(),
            doorway: registry_doorway,
            content: Arc::new(registry.clone()),
        });
        let control = match ground.zip(registry) {
            None => None,
            Some((ground, registry)) => {
                let (members, stop) = (hosts.clone(), requests.clone());
                let asked = Arc::new(AskedForCallers(names.desk()));
                let entrances: Vec<_> = gateways.iter().map(Gateway::handle).collect();
                let leads = fleet.as_ref().and_then(Fleet::control_deps);
                let (clock, entropy) = (clock.clone(), entropy.clone());
                let published = directory.clone();
                let certificates = ground.certificates;
                let plan = Plan {
                    access: ground.access,
                    config: control_config,
                    limits: config.api_limits,
                    registry,
                    deps: Box::new(move |store| ControlDeps {
                        store,
                        hosts: members
                            .iter()
                            .map(|host| Arc::new(host.clone()) as Arc<dyn HostApi>)
                            .collect(),
                        clock: clock.clone(),
                        entropy: entropy.clone(),
                        certificates: certificates.clone(),
                        fleet: leads.clone(),
                        directory: published.clone(),
                        gateways: entrances.clone(),
                        names: asked.clone(),
                        loops: board.clone(),
                        stop: stop.clone(),
                    }),
                };
                let plane = ControlPlane::new(plan, ground.store).await?;
                Some((ground.listener, plane))
            }
        };

        let inner = SocketAddr::from((driver.names_address(), API_PORT));
        let inner_listener = TcpListener::bind(inner)
            .await
            .with_context(|| format!("listen on {inner} for machines' requests to the API"))?;
        let local: BTreeSet<HostId> = hosts.iter().map(Host::host_id).collect();
        let led = fleet.as_ref().and_then(Fleet::control);
        let passages = led.map(|control| ApiPassages::to(control.clone()));
        let doors = Doors {
            data_dir: config.data_dir.clone(),
            catalog: catalogs.whole(),
            hosts: local.clone(),
            behind: match (&control, &passages) {
                (Some((_, plane)), _) => BehindDoors::Here(plane.router()),
                (None, Some(passages)) => BehindDoors::There(passages.clone()),
                (None, None) => BehindDoors::Here(LateRouter::default().router()),
            },
        };

        let known_by = [
            config.certificates.settings.public_addresses.clone(),
            config
                .addresses
                .shared_v4
                .map(IpAddr::V4)
                .into_iter()
                .collect(),
        ]
        .concat();
        let listeners = edge_addresses
            .iter()
            .flat_map(|edge| [edge.address, edge.https]);
        let traffic = TrafficKeeper {
            driver: driver.clone(),
            catalog: catalogs.whole(),
            hosts: local,
            directory: directory_of_traffic,
            doors: traffic::doors(listeners, &known_by),
            roster: fleet.as_ref().map(Fleet::roster),
        };

        Ok(Self {
            doors,
            traffic,
            inner_listener,
            passages,
            registry_listener,
            distant_registry,
            led_registry,
            control,
            fleet,
            backhaul,
            directory,
            others: catalogs.others(),
            hosts,
            catalogs,
            keeper,
            routes,
            driver,
            images,
            edges,
            answered_for,
            // What is still open then is cut off by the edge itself.
            edge_patience: config.edge_drain + Duration::from_secs(2),
            edge_addresses,
            gateways,
            domain,
            names,
            challenges,
            requests,
            uploads,
            clock,
            entropy,
        })
    }

    /// Where the API is, if it is on this server.
    pub(crate) fn api_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        let Some((listener, _)) = &self.control else {
            return Ok(None);
        };
        let address = listener.local_addr();
        address.map(Some).context("read the API's own address")
    }

    /// Apps are reached as `<app>.<domain>`.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Where the fleet was joined that another server leads.
    pub(crate) fn joined_at(&self) -> Option<String> {
        self.fleet.as_ref()?.joined_at()
    }

    /// Where requests for apps arrive, the default region first.
    pub(crate) fn edges(&self) -> Vec<EdgeAddress> {
        self.edge_addresses.clone()
    }
}
