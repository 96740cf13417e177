use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use mayfly_control::DirectoryFeed;
use mayfly_edge_api::{Directory, EdgeLoad};
use mayfly_fleet_api::{
    CallError, ControlDoor, Hello, JoinAnswer, JoinRequest, RenewAnswer, Roster,
};
use mayfly_types::{ErrorKind, HostId};
use tokio::sync::watch;

use crate::control_plane::LateControl;

/// The control plane as other servers find it: what it does may have to wait until its store is there, what it said last
/// holds.
pub(super) struct LateDoor {
    pub(super) control: LateControl,
    pub(super) directory: DirectoryFeed,
    pub(super) roster: watch::Receiver<Arc<Roster>>,
}

impl LateDoor {
    fn door(&self) -> Result<Arc<dyn ControlDoor>, CallError> {
        let control = self.control.get();
        let control = control
            .ok_or_else(|| CallError::new(ErrorKind::Unavailable, "the control store is away"))?;
        Ok(control.door())
    }
}

#[async_trait]
impl ControlDoor for LateDoor {
    async fn join(&self, request: JoinRequest, seen_at: IpAddr) -> Result<JoinAnswer, CallError> {
        self.door()?.join(request, seen_at).await
    }

    async fn renew(&self, server: HostId, request: String) -> Result<RenewAnswer, CallError> {
        self.door()?.renew(server, request).await
    }

    async fn hello(&self, server: HostId, hello: Hello, seen_at: IpAddr) -> Result<(), CallError> {
        self.door()?.hello(server, hello, seen_at).await
    }

    async fn load(&self, server: HostId, load: EdgeLoad) -> Result<(), CallError> {
        self.door()?.load(server, load).await
    }

    fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.clone()
    }
}
