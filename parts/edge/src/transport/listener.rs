use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_runtime::{Clock, Entropy, Stop, TaskSet};
use mayfly_types::{ErrorKind, Region};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{Core, TICK};
use crate::route::RouteTable;

use super::{ConnInfo, Door, Reach};

/// Connections that wait to be accepted; above it the kernel lets clients retry.
const BACKLOG: i32 = 4096;
/// How long open requests may take to finish after a stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The catalog as hosts publish it.
pub(crate) type Catalog = watch::Receiver<mayfly_host_api::Catalog>;

/// What an edge lives on; when a sender is gone, the last value stays.
#[derive(Clone)]
pub struct EdgeDeps {
    /// Machines, from hosts.
    pub catalog: watch::Receiver<mayfly_host_api::Catalog>,
    /// Names, addresses and certificates, from the control plane.
    pub directory: watch::Receiver<Arc<Directory>>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Where and for what the edge listens.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Port 0 chooses a free one.
    pub listen: SocketAddr,
    /// Apps are served at `<app>.<domain>`; lower case, no dot at either end.
    pub domain: String,
    pub region: Region,
    /// Threads, each with its own listener; at least one.
    pub cores: usize,
}

/// A bound edge; nothing is served before [`Edge::run`].
pub struct Edge {
    config: EdgeConfig,
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
    deps: EdgeDeps,
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
    #[error("start a thread of the edge")]
    Thread(#[source] io::Error),
}

impl EdgeError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            EdgeError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::Conflict
            }
            EdgeError::Listen { .. } | EdgeError::Thread(_) => ErrorKind::Internal,
        }
    }
}

impl EdgeConfig {
    /// Binds the listeners.
    ///
    /// # Errors
    /// [`EdgeError::Listen`] if the address is taken or not ours. Another process of ours on the same address counts
    /// as taken: the first listener is bound without `SO_REUSEPORT` to find out.
    pub fn build(self, deps: EdgeDeps) -> Result<Edge, EdgeError> {
        let failed = |source| EdgeError::Listen {
            address: self.listen,
            source,
        };
        let probe = std::net::TcpListener::bind(self.listen).map_err(failed)?;
        let address = probe.local_addr().map_err(failed)?;
        drop(probe);
        let sockets = (0..self.cores.max(1))
            .map(|_| bind(address))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        Ok(Edge {
            config: self,
            address,
            sockets,
            deps,
        })
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(std::net::TcpListener::from(socket))
}

impl Edge {
    /// Where the edge listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets open requests finish for a while.
    ///
    /// # Errors
    /// [`EdgeError::Thread`] if a thread could not be started; those that were are stopped again.
    pub async fn run(self, stop: Stop) -> Result<(), EdgeError> {
        let mut threads = Vec::new();
        for socket in self.sockets {
            let core = Core::new(
                self.config.domain.clone(),
                self.config.region.clone(),
                443,
                Arc::clone(&self.deps.clock),
                &*self.deps.entropy,
            );
            let (catalog, stop) = (self.deps.catalog.clone(), stop.clone());
            let address = self.address;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(EdgeError::Thread)?;
            let thread = std::thread::Builder::new()
                .name("edge".to_owned())
                .spawn(move || {
                    runtime.block_on(run_core(Arc::new(core), socket, address, catalog, stop))
                })
                .map_err(EdgeError::Thread)?;
            threads.push(thread);
        }
        stop.cancelled().await;
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a thread of the edge panicked");
        }
        Ok(())
    }
}

async fn run_core(
    core: Arc<Core>,
    socket: std::net::TcpListener,
    address: SocketAddr,
    mut catalog: Catalog,
    stop: Stop,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(error = %error, "the edge cannot accept connections");
            return;
        }
    };
    let shared_http = Door {
        ip: address.ip(),
        port: 80,
        bound: address.port(),
        reach: Reach::Shared,
    };
    let connections = TaskSet::new();
    let mut sweep = tokio::time::interval(TICK);
    catalog.mark_changed();
    let mut published = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = catalog.changed(), if published => match changed {
                Ok(()) => publish(&core, &mut catalog),
                // The host is gone: go on with the last thing known.
                Err(_) => published = false,
            },
            _ = sweep.tick() => core.sweep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let core = Arc::clone(&core);
                    let conn = ConnInfo { peer, door: shared_http, tls: None };
                    connections.spawn_guarded("edge.connection", |stop| async move { core.serve(stream, conn, stop).await }).await;
                }
                Err(error) => {
                    // Out of descriptors, most likely; accepting at once again would spin.
                    tracing::warn!(error = %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.shut_down(DRAIN_PATIENCE).await;
}

fn publish(core: &Core, catalog: &mut Catalog) {
    let table = RouteTable::from_catalog(&catalog.borrow_and_update());
    *core.table.lock().expect("no holder of this lock panics") = Arc::new(table);
}
