use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use mayfly_control_store::{By, ControlStore, HostSize, StoreError};
use mayfly_edge_api::{EdgeLoad, GatewayApi};
use mayfly_fleet_api::ControlDoor;
use mayfly_host_api::HostApi;
use mayfly_registry::Access;
use mayfly_runtime::{Clock, Entropy, LoopBoard, Stop, TaskSet};
use mayfly_types::EventSeq;
use tokio::sync::Notify;

use crate::app_expiry::AppExpiry;
use crate::autoscale::{Autoscale, Autoscaler};
use crate::builds::Builds;
use crate::certificates::{CertificateDeps, Keeper};
use crate::changes::Changes;
use crate::cloud::Cloud;
use crate::directory::{DirectoryFeed, Publisher};
use crate::fleet::{Door, Drains, Fleet, FleetDeps};
use crate::hosts::Hosts;
use crate::images::Uploads;
use crate::limits::{ApiLimits, Limiter};
use crate::placement::Reservations;
use crate::private::PrivateNames;
use crate::pump::run_pumps;
use crate::registry::RegistryAccess;
use crate::releases::Deployments;
use crate::retention::{Expiry, Retention};
use crate::router::router;
use crate::settings::Settings;
use crate::settle::{Doubts, settle};
use crate::standby::Standbys;
use crate::token_sources::TokenSources;
use crate::volumes::VolumeKeeper;
use crate::wireguard;

/// What the control plane stands on.
pub struct ControlDeps {
    pub store: ControlStore,
    /// At least one. The region of the first is where machines go that name none.
    pub hosts: Vec<Arc<dyn HostApi>>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub certificates: CertificateDeps,
    /// What other servers join by; `None` for a cloud of one server.
    pub fleet: Option<FleetDeps>,
    /// What edges are told; subscribed to before anything is served.
    pub directory: DirectoryFeed,
    /// Where users' devices enter private networks, that of the default region first. They follow the directory.
    pub gateways: Vec<Arc<dyn GatewayApi>>,
    /// Resolves names on behalf of callers.
    pub names: Arc<dyn PrivateNames>,
    /// Where the loops of this process say what they do; shown by the status call.
    pub loops: LoopBoard,
    /// Ends long polls, streams and operations.
    pub stop: Stop,
}

/// The control plane of one fleet.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    pub settings: Settings,
    pub retention: Retention,
}

/// Why the control plane cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("enrol the hosts")]
    Store(#[from] StoreError),
    #[error("a fleet has at least one host, and none was named")]
    NoHost,
    #[error("empty the directory for uploads {directory}")]
    Uploads {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A control plane that is ready to serve.
pub struct Control {
    cloud: Arc<Cloud>,
    /// The log up to here was written before this process could wait for it.
    newest: EventSeq,
    retention: Retention,
    limits: ApiLimits,
}

impl ControlConfig {
    /// Enrols the hosts and finds out what an earlier process left half-way. Nothing is served and no loop runs yet.
    pub async fn build(self, deps: ControlDeps) -> Result<Control, BuildError> {
        let settings = self.settings;
        let hosts = Hosts::meet(deps.hosts).await;
        if hosts.all().is_empty() {
            return Err(BuildError::NoHost);
        }
        for member in hosts.all() {
            let by = By::platform(deps.clock.now());
            let region = member.region.clone();
            let status = member.api.status().await;
            let size = HostSize {
                memory_mib: status.memory_mib,
                cpus: status.cpus,
            };
            deps.store
                .register_host(member.id, region, size, by)
                .await?;
        }
        let directory = settings.uploads.clone();
        let uploads = Uploads::open(directory.clone(), deps.entropy.clone())
            .map_err(|source| BuildError::Uploads { directory, source })?;
        let newest = deps.store.newest_event().await?;
        let doubts = Doubts::default();
        for machine in deps.store.undelivered_machines().await? {
            doubts.add(machine.id);
        }
        let by = By::platform(deps.clock.now());
        deps.store.give_up_new_volumes(by).await?;
        let cloud = Arc::new(Cloud {
            store: deps.store,
            clock: deps.clock,
            entropy: deps.entropy,
            hosts,
            fleet: Fleet::new(deps.fleet),
            token_sources: TokenSources::default(),
            settings,
            uploads,
            builds: Builds::default(),
            certificates: deps.certificates,
            directory: deps.directory,
            gateways: deps.gateways,
            names: deps.names,
            changes: Changes::default(),
            autoscale: Autoscale::default(),
            loops: deps.loops,
            doubts,
            volume_news: Notify::new(),
            reservations: Reservations::default(),
            operations: TaskSet::new(),
            stop: deps.stop,
        });
        cloud.refresh_fleet().await?;
        Ok(Control {
            cloud,
            newest,
            retention: self.retention,
            limits: ApiLimits::Off,
        })
    }
}

impl Control {
    /// Holds callers of the API to a profile of limits; there are none otherwise.
    pub fn limited(self, limits: ApiLimits) -> Self {
        Control { limits, ..self }
    }

    /// The API. Machines show what their host reported as far as the pump has taken it over.
    pub fn router(&self) -> Router {
        let limiter = Limiter::new(self.limits, self.cloud.clock.clone());
        router(self.cloud.clone(), Arc::new(limiter))
    }

    /// What servers of the fleet ask of the control plane.
    pub fn door(&self) -> Arc<dyn ControlDoor> {
        Arc::new(Door(self.cloud.clone()))
    }

    /// What the registry of this cloud asks.
    pub fn registry_access(&self) -> Arc<dyn Access> {
        Arc::new(RegistryAccess(self.cloud.clone()))
    }

    /// Takes note of how busy the edges of this server are.
    pub fn hear_load(&self, load: EdgeLoad) {
        let cloud = &self.cloud;
        let members = cloud.hosts.all();
        let own = members.iter().find(|member| member.is_local);
        if let Some(own) = own {
            cloud.autoscale.loads.hear(own.id, load, cloud.now());
        }
    }

    /// Starts what converges in the background: host reports, waiters, doubts, standbys, forgetting.
    pub async fn spawn_loops(&self, tasks: &TaskSet) {
        let cloud = &self.cloud;
        let pumping = cloud.clone();
        tasks
            .spawn("control.pumps", |stop| run_pumps(pumping, stop))
            .await;
        let (changes, store, newest) = (cloud.changes.clone(), cloud.store.clone(), self.newest);
        tasks
            .spawn("control.changes", move |stop| {
                changes.follow(store, newest, stop)
            })
            .await;
        let publisher = Publisher {
            store: cloud.store.clone(),
            feed: cloud.directory.clone(),
            sealer: cloud.certificates.sealer.clone(),
            clock: cloud.clock.clone(),
            status: cloud.loops.loop_named("control.directory"),
        };
        tasks
            .spawn("control.directory", |stop| publisher.run(stop))
            .await;
        let keeper = Keeper::new(cloud.clone());
        tasks
            .spawn("control.certificates", |stop| keeper.run(stop))
            .await;
        let (settling, board) = (cloud.clone(), cloud.loops.loop_named("control.settle"));
        tasks
            .spawn("control.settle", |stop| settle(settling, board, stop))
            .await;
        let deployments = Deployments {
            cloud: cloud.clone(),
            status: cloud.loops.loop_named("control.deployments"),
        };
        tasks
            .spawn("control.deployments", |stop| deployments.run(stop))
            .await;
        let drains = Drains {
            cloud: cloud.clone(),
            status: cloud.loops.loop_named("control.drains"),
        };
        tasks.spawn("control.drains", |stop| drains.run(stop)).await;
        let volumes = VolumeKeeper {
            cloud: cloud.clone(),
            status: cloud.loops.loop_named("control.volumes"),
        };
        tasks
            .spawn("control.volumes", |stop| volumes.run(stop))
            .await;
        let autoscaler = Autoscaler {
            cloud: cloud.clone(),
            status: cloud.loops.loop_named("control.autoscale"),
        };
        tasks
            .spawn("control.autoscale", |stop| autoscaler.run(stop))
            .await;
        let standbys = Standbys {
            store: cloud.store.clone(),
            hosts: cloud.hosts.clone(),
            clock: cloud.clock.clone(),
            host_patience: cloud.settings.host_patience,
            status: cloud.loops.loop_named("control.standbys"),
        };
        tasks
            .spawn("control.standbys", |stop| standbys.run(stop))
            .await;
        let devices = wireguard::Keeper {
            store: cloud.store.clone(),
            gateways: cloud.gateways.clone(),
            clock: cloud.clock.clone(),
            status: cloud.loops.loop_named("control.wireguard"),
        };
        tasks
            .spawn("control.wireguard", |stop| devices.run(stop))
            .await;
        let expiry = Expiry {
            store: cloud.store.clone(),
            retention: self.retention,
            clock: cloud.clock.clone(),
            status: cloud.loops.loop_named("control.expiry"),
        };
        tasks.spawn("control.expiry", |stop| expiry.run(stop)).await;
        let apps = AppExpiry {
            cloud: cloud.clone(),
            status: cloud.loops.loop_named("control.app_expiry"),
        };
        tasks
            .spawn("control.app_expiry", |stop| apps.run(stop))
            .await;
    }

    /// Waits for operations whose requests have ended; true if all ended within `patience`.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.cloud.operations.shut_down(patience).await
    }
}
