//! A host of another server, as if it were here.

mod api;
mod session;
mod watching;

use std::sync::Arc;

use mayfly_fleet_api::{Call, HostCall, RosterHost};
use mayfly_host_api::{Catalog, HostError, HostStatus};
use mayfly_runtime::TaskSet;
use mayfly_types::{HostId, HostSeq};
use tokio::sync::watch;

use crate::link::{Link, LinkError};

/// The calls of a host go over its server's link; its catalog and position are followed by [`RemoteHost::run`] and stay
/// what they were while it is away. Clones are the same.
#[derive(Clone)]
pub struct RemoteHost(Arc<Inner>);

struct Inner {
    id: HostId,
    link: Link,
    catalog: watch::Sender<Catalog>,
    latest: watch::Sender<HostSeq>,
    status: watch::Sender<HostStatus>,
    /// Whether it is being watched at this moment.
    connected: watch::Sender<bool>,
    sessions: TaskSet,
}

impl RemoteHost {
    /// Knows of the host what the roster says until it is reached.
    pub fn new(link: Link, host: &RosterHost) -> Self {
        Self(Arc::new(Inner {
            id: host.id,
            link,
            catalog: watch::Sender::default(),
            latest: watch::Sender::new(HostSeq(0)),
            status: watch::Sender::new(HostStatus {
                host_id: host.id,
                region: host.region.clone(),
                image_store: format!("{}:", host.id),
                machines: 0,
                running: 0,
                cgroups: String::new(),
                memory_mib: host.memory_mib,
                cpus: host.cpus,
            }),
            connected: watch::Sender::new(false),
            sessions: TaskSet::new(),
        }))
    }

    pub fn id(&self) -> HostId {
        self.0.id
    }

    /// Whether the host is heard at this moment.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected.subscribe()
    }

    fn call(&self, call: HostCall) -> Call {
        Call::Host {
            host: self.0.id,
            call: Box::new(call),
        }
    }

    fn failed(&self, error: LinkError) -> HostError {
        match error {
            LinkError::Refused(error) => error.into(),
            unreachable => HostError::unreachable(self.0.id, unreachable),
        }
    }
}
