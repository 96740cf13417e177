use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use mayfly_edge_api::{Directory, EdgeLoad};
use mayfly_types::HostId;
use tokio::sync::watch;

use crate::call::CallError;
use crate::feed::Hello;
use crate::join::{JoinAnswer, JoinRequest, RenewAnswer};
use crate::roster::Roster;

/// What the control plane does for the servers of its fleet. `seen_at` is where a call came from.
#[async_trait]
pub trait ControlDoor: Send + Sync + 'static {
    /// Takes a server on and gives it an identity.
    ///
    /// # Errors
    /// `Denied` for a token that is unknown, used or too old, and for a host id that another server has.
    async fn join(&self, request: JoinRequest, seen_at: IpAddr) -> Result<JoinAnswer, CallError>;

    /// A new certificate for a server that has a good one; `request` as in [`JoinRequest::request`].
    async fn renew(&self, server: HostId, request: String) -> Result<RenewAnswer, CallError>;

    /// Notes where a server is now and what it has.
    ///
    /// # Errors
    /// `Denied` for a server that was removed.
    async fn hello(&self, server: HostId, hello: Hello, seen_at: IpAddr) -> Result<(), CallError>;

    /// Takes note of how busy the edges of a server are.
    async fn load(&self, server: HostId, load: EdgeLoad) -> Result<(), CallError>;

    fn directory(&self) -> watch::Receiver<Arc<Directory>>;

    fn roster(&self) -> watch::Receiver<Arc<Roster>>;
}
