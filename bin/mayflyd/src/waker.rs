use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mayfly_edge::{WakeError, Waker};
use mayfly_fleet::Peers;
use mayfly_host_api::{Actor, HostApi, HostError, StopMachine};
use mayfly_types::{ErrorKind, HostId, MachineId};

/// Wakes machines by asking their hosts, as the proxy: the control plane learns of it from what the hosts report.
pub(crate) struct HostWaker {
    hosts: HashMap<HostId, Arc<dyn HostApi>>,
    /// Hosts of other servers are asked directly.
    peers: Option<Peers>,
}

impl HostWaker {
    pub(crate) fn new(
        hosts: impl IntoIterator<Item = (HostId, Arc<dyn HostApi>)>,
        peers: Option<Peers>,
    ) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            peers,
        }
    }

    fn host(&self, host: HostId) -> Result<Arc<dyn HostApi>, WakeError> {
        let own = self.hosts.get(&host).cloned();
        let other = || {
            let found = self.peers.as_ref()?.find(host)?;
            Some(Arc::new(found) as Arc<dyn HostApi>)
        };
        own.or_else(other).ok_or_else(|| WakeError {
            kind: ErrorKind::NotFound,
            message: format!("host {host} is not known here"),
        })
    }
}

#[async_trait]
impl Waker for HostWaker {
    async fn start(&self, host: HostId, machine: MachineId) -> Result<(), WakeError> {
        let asked = self.host(host)?.start(machine, Actor::Proxy).await;
        asked.map(drop).map_err(wake_error)
    }

    async fn stop(&self, host: HostId, machine: MachineId) -> Result<(), WakeError> {
        let request = StopMachine::by_rule(Actor::Proxy);
        let asked = self.host(host)?.stop(machine, request).await;
        asked.map(drop).map_err(wake_error)
    }

    async fn suspend(&self, host: HostId, machine: MachineId) -> Result<(), WakeError> {
        let asked = self.host(host)?.suspend(machine, Actor::Proxy).await;
        asked.map(drop).map_err(wake_error)
    }
}

fn wake_error(error: HostError) -> WakeError {
    WakeError {
        kind: error.kind(),
        message: mayfly_runtime::report(&error),
    }
}
