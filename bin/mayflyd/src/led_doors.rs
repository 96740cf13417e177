use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use mayfly_control::AtDoorOf;
use mayfly_fleet::LedApi;
use mayfly_fleet_api::{ApiVisitor, Roster};
use mayfly_host_api::Catalog;
use mayfly_net::{PeerAddr, ServeConfig, serve_stream};
use mayfly_runtime::Stop;
use mayfly_types::{HostId, MachineId};
use tokio::io::DuplexStream;
use tokio::sync::watch;

/// The API of this server for machines of others: behind their doors and at `_api.internal`, as on their own server.
pub(crate) struct LedDoors {
    pub(crate) router: Router,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    /// The catalogs of the others' hosts.
    pub(crate) others: watch::Receiver<BTreeMap<HostId, Catalog>>,
    pub(crate) stop: Stop,
}

#[async_trait]
impl LedApi for LedDoors {
    fn runs_on(&self, machine: MachineId, server: HostId) -> bool {
        let roster = self.roster.borrow();
        let Some(server) = roster.server(server) else {
            return false;
        };
        let others = self.others.borrow();
        let mut catalogs = server.hosts.iter().filter_map(|host| others.get(&host.id));
        catalogs.any(|catalog| catalog.iter().any(|entry| entry.machine_id == machine))
    }

    async fn serve(&self, visitor: ApiVisitor, stream: DuplexStream) {
        let (router, config) = (self.router.clone(), ServeConfig::default());
        let stop = self.stop.child_token();
        match visitor {
            ApiVisitor::Machine(machine) => {
                serve_stream(stream, AtDoorOf(machine), router, &config, stop).await;
            }
            ApiVisitor::From(address) => {
                serve_stream(stream, PeerAddr(address), router, &config, stop).await;
            }
        }
    }
}
