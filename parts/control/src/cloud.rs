use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{App, By, ControlStore, Machine, MachineFilter};
use mayfly_edge_api::GatewayApi;
use mayfly_host_api::{HostApi, HostError, MachineReport};
use mayfly_runtime::{Clock, Entropy, LoopBoard, Stop, TaskSet};
use mayfly_types::{MachineId, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::autoscale::Autoscale;
use crate::builds::Builds;
use crate::certificates::CertificateDeps;
use crate::changes::Changes;
use crate::directory::DirectoryFeed;
use crate::error::ApiError;
use crate::fleet::Fleet;
use crate::hosts::Hosts;
use crate::images::Uploads;
use crate::placement::Reservations;
use crate::private::PrivateNames;
use crate::region::Regions;
use crate::settings::Settings;
use crate::settle::Doubts;
use crate::token_sources::TokenSources;

/// How long an answer waits for a host's report to be read back. What is late shows in the next answer.
const READ_BACK: Duration = Duration::from_secs(2);

/// What every request handler works with.
pub(crate) struct Cloud {
    pub(crate) store: ControlStore,
    pub(crate) hosts: Hosts,
    pub(crate) fleet: Fleet,
    pub(crate) token_sources: TokenSources,
    pub(crate) reservations: Reservations,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) uploads: Uploads,
    pub(crate) builds: Builds,
    pub(crate) certificates: CertificateDeps,
    pub(crate) directory: DirectoryFeed,
    /// The first is that of the default region.
    pub(crate) gateways: Vec<Arc<dyn GatewayApi>>,
    pub(crate) names: Arc<dyn PrivateNames>,
    pub(crate) changes: Changes,
    pub(crate) autoscale: Autoscale,
    pub(crate) loops: LoopBoard,
    /// Operations whose end on the host is not known.
    pub(crate) doubts: Doubts,
    /// There is something to do about a volume.
    pub(crate) volume_news: Notify,
    /// Operations that outlive the request that asked for them.
    pub(crate) operations: TaskSet,
    /// Cancelled when long polls and streams shall end.
    pub(crate) stop: Stop,
}

impl Cloud {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A change made by one of our own loops.
    pub(crate) fn by_platform(&self) -> By {
        By::platform(self.now())
    }

    /// The regions this fleet has hosts in now.
    pub(crate) fn regions(&self) -> Regions {
        let gateways = crate::wireguard::regions(&self.gateways);
        Regions::new(self.hosts.regions(), gateways)
    }

    /// The host a machine lives on.
    pub(crate) fn host_of(&self, machine: &Machine) -> Result<Arc<dyn HostApi>, HostError> {
        self.hosts.of(machine)
    }

    /// Runs an operation to its end even if the caller goes away half-way.
    pub(crate) async fn finish<T, F>(&self, operation: F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
        T: Send + 'static,
    {
        let (done, ended) = oneshot::channel();
        self.operations
            .spawn_guarded("operation", |_| async move {
                // A caller that went away does not want the answer.
                let _ = done.send(operation.await);
            })
            .await;
        // The operation panicked; its task has logged that.
        ended.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }

    /// The machine once what its host has just answered is contained in it.
    pub(crate) async fn read_back(
        &self,
        machine: MachineId,
        report: &MachineReport,
    ) -> Result<Machine, ApiError> {
        self.store
            .wait_applied(report.host_id, report.seq, READ_BACK)
            .await?;
        Ok(self.store.machine(machine).await?)
    }

    pub(crate) async fn machines_of(
        &self,
        app: &App,
        include_deleted: bool,
    ) -> Result<Vec<Machine>, ApiError> {
        let filter = MachineFilter {
            app: Some(app.id),
            include_deleted,
            ..MachineFilter::default()
        };
        Ok(self.store.machines(filter).await?)
    }
}
