use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use mayfly_control::{Control, ControlConfig, ControlDeps, DirectoryFeed, Retention, Settings};
use mayfly_control_store::ControlStore;
use mayfly_driver::{ContainerConfig, ContainerDriver};
use mayfly_edge::{Edge, EdgeConfig, EdgeDeps};
use mayfly_host::{Host, HostConfig, HostDeps, Housemates, Server};
use mayfly_host_api::HostApi;
use mayfly_image::{ImageStore, StoreConfig};
use mayfly_net::{ServeConfig, serve};
use mayfly_runtime::{Clock, Entropy, LoopBoard, Stop, SystemClock, SystemEntropy, TaskSet};
use tokio::net::TcpListener;
use tracing::{error, warn};

use crate::admin_token;
use crate::config::{Config, StoreLocation};
use crate::readiness::Readiness;

/// All roles of one server in this process: built, with their addresses bound, and not serving yet.
pub(crate) struct Cloud {
    listener: TcpListener,
    control: Control,
    host: Host,
    driver: ContainerDriver,
    images: ImageStore,
    edge: Edge,
    requests: Stop,
}

impl Cloud {
    /// Opens the stores, prepares the kernel and binds the listeners. Whatever can be wrong with a setting is found
    /// here, before any machine is touched.
    pub(crate) async fn build(config: &Config, readiness: &mut Readiness) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let board = LoopBoard::default();
        let listener = TcpListener::bind(config.api_listen)
            .await
            .with_context(|| format!("listen on {} for the API", config.api_listen))?;

        readiness.step("opening the store")?;
        let store = ControlStore::open(&store_url(&config.store))
            .await
            .context("open the control store")?;
        admin_token::first_start(&config.data_dir, &store, &*clock, &*entropy, &config.domain)
            .await?;

        readiness.step("opening the images")?;
        let images = ImageStore::open(&config.data_dir.join("images"), StoreConfig::default())
            .await
            .context("open the images")?;

        readiness.step("preparing the kernel")?;
        let driver = ContainerDriver::start(ContainerConfig {
            data_dir: config.data_dir.clone(),
            more_hosts: Vec::new(),
            images: Arc::new(images.clone()),
            clock: clock.clone(),
        })
        .await
        .context("prepare this server for machines")?;

        readiness.step("reading the journal")?;
        let server = Server::detect().context("ask the kernel about this server")?;
        let host = HostConfig::new(&config.data_dir, config.region.clone())
            .build(HostDeps {
                driver: Arc::new(driver.clone()),
                images: images.clone(),
                ipv4_pool: driver.ipv4_pool(),
                clock: clock.clone(),
                entropy: entropy.clone(),
                board: board.clone(),
                server,
                housemates: Housemates::default(),
            })
            .await
            .context("open the host")?;

        let directory = DirectoryFeed::open(config.data_dir.join("directory.json"));
        let edge = EdgeConfig {
            listen: config.edge_listen,
            https_listen: config.edge_https_listen,
            accept_proxy_protocol: config.edge_accept_proxy_protocol.clone(),
            drain: config.edge_drain,
            domain: config.domain.clone(),
            region: config.region.clone(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
        .build(EdgeDeps {
            catalog: host.catalog(),
            directory: directory.subscribe(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            inherited: Vec::new(),
        })?;

        let requests = Stop::new();
        let control = ControlConfig {
            settings: Settings {
                domain: config.domain.clone(),
                edge_port: edge.address().port(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uploads: config.data_dir.join("uploads"),
            },
            retention: Retention::default(),
        }
        .build(ControlDeps {
            store,
            hosts: vec![Arc::new(host.clone())],
            clock,
            entropy,
            directory,
            loops: board,
            stop: requests.clone(),
        })
        .await
        .context("build the control plane")?;

        Ok(Self {
            listener,
            control,
            host,
            driver,
            images,
            edge,
            requests,
        })
    }

    pub(crate) fn api_address(&self) -> anyhow::Result<SocketAddr> {
        self.listener
            .local_addr()
            .context("read the API's own address")
    }

    pub(crate) fn edge_address(&self) -> SocketAddr {
        self.edge.address()
    }

    pub(crate) fn edge_https_address(&self) -> SocketAddr {
        self.edge.https_address()
    }

    /// Begins to serve: the host continues what its journal says, then requests are answered.
    pub(crate) async fn serve(self) -> Running {
        let tasks = TaskSet::new();
        let host = self.host.clone();
        tasks
            .spawn("host", |stop| async move { host.run(stop).await })
            .await;
        let edge = self.edge;
        tasks
            .spawn("edge", |stop| async move {
                if let Err(error) = edge.run(stop).await {
                    error!(error = mayfly_runtime::report(&error), "edge ended");
                }
            })
            .await;
        self.control.spawn_loops(&tasks).await;
        let (listener, router) = (self.listener, self.control.router());
        let api = TaskSet::new();
        api.spawn("api", |stop| async move {
            if !serve(listener, router, ServeConfig::default(), stop).await {
                warn!("some requests were cut off");
            }
        })
        .await;
        Running {
            api,
            tasks,
            control: self.control,
            driver: self.driver,
            images: self.images,
            requests: self.requests,
        }
    }
}

/// A serving cloud.
pub(crate) struct Running {
    api: TaskSet,
    tasks: TaskSet,
    control: Control,
    driver: ContainerDriver,
    images: ImageStore,
    requests: Stop,
}

impl Running {
    /// Stops accepting, lets requests and operations finish for at most `patience` each, ends everything else. Machines
    /// run on. True if nothing had to be cut off.
    pub(crate) async fn shut_down(self, patience: std::time::Duration) -> bool {
        self.requests.cancel();
        let answered = self.api.shut_down(patience).await;
        let finished = self.control.drain(patience).await;
        let ended = self.tasks.shut_down(patience).await;
        let closed = self.driver.shut_down(patience).await;
        self.images.shut_down().await;
        answered && finished && ended && closed
    }
}

fn store_url(location: &StoreLocation) -> String {
    match location {
        StoreLocation::File(path) => sqlite_url(path),
        StoreLocation::Postgres(url) => url.reveal().to_owned(),
    }
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
