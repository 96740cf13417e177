use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_net::Doorway;
use mayfly_runtime::{Clock, Entropy};
use mayfly_types::{ErrorKind, Region};
use tokio::sync::watch;

use crate::fleet::Fleet;
use crate::http::HttpSettings;
use crate::statics::{Buckets, StaticFiles};

use super::listener::Edge;
use super::socket;
use super::tls::{CertificateError, Tls};
use super::{AddressRange, Door, Reach};

/// Where and for what the edge listens.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Port 80 of the shared address: HTTP by host name. Port 0 chooses a free one.
    pub listen: SocketAddr,
    /// Port 443 of the shared address: TLS by server name. Port 0 chooses a free one.
    pub https_listen: SocketAddr,
    /// Apps are served at `<app>.<domain>`; lower case, no dot at either end.
    pub domain: String,
    pub region: Region,
    /// Threads, each with its own listeners; at least one.
    pub cores: usize,
    /// Load balancers in front of the edge: their connections begin with a PROXY header, and its word is taken.
    pub accept_proxy_protocol: Vec<AddressRange>,
    /// Also the addresses of apps that belong to no region; of several edges on one server only one can.
    pub serves_everywhere: bool,
    /// Names whose connections lead elsewhere once TLS has ended, whatever they speak: what is of the cloud itself.
    pub passages: BTreeMap<String, Doorway>,
    /// How long open connections may go on after a stop.
    pub drain: Duration,
    pub http: HttpSettings,
}

/// What an edge lives on; when a sender is gone, the last value stays.
pub struct EdgeDeps {
    /// The machines; edges of one process share them, since load is counted there.
    pub fleet: Arc<Fleet>,
    /// Names, addresses and certificates, from the control plane.
    pub directory: watch::Receiver<Arc<Directory>>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Where files of machines' images lie.
    pub statics: Arc<dyn StaticFiles>,
    /// Where other files of apps lie.
    pub buckets: Buckets,
    /// Listening sockets that somebody else holds open beyond this process; used where their address is wanted.
    pub inherited: Vec<std::net::TcpListener>,
}

/// The edge could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("listen on {address} for apps")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("prepare TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("start a thread of the edge")]
    Thread(#[source] io::Error),
}

impl EdgeError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            EdgeError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::Conflict
            }
            EdgeError::Listen { .. } | EdgeError::Tls(_) | EdgeError::Thread(_) => {
                ErrorKind::Internal
            }
        }
    }
}

impl From<CertificateError> for EdgeError {
    fn from(error: CertificateError) -> Self {
        EdgeError::Tls(Box::new(error))
    }
}

impl EdgeConfig {
    /// Binds the shared listeners.
    ///
    /// # Errors
    /// [`EdgeError::Listen`] if an address is taken or not ours. Another process of ours on the same address counts
    /// as taken.
    pub fn build(self, deps: EdgeDeps) -> Result<Edge, EdgeError> {
        let shared = |wanted: SocketAddr, port: u16| {
            let (address, sockets) = socket::shared(wanted, self.cores.max(1), &deps.inherited)
                .map_err(|source| EdgeError::Listen {
                    address: wanted,
                    source,
                })?;
            let door = Door {
                ip: address.ip(),
                port,
                bound: address.port(),
                reach: Reach::Shared,
            };
            Ok::<_, EdgeError>((door, sockets))
        };
        let http = shared(self.listen, 80)?;
        let https = shared(self.https_listen, 443)?;
        let tls = Arc::new(Tls::new(&self.domain)?);
        Ok(Edge::new(self, http, https, tls, deps))
    }
}
