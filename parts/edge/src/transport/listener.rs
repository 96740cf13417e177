use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_machine::Protocol;
use mayfly_runtime::{Stop, TaskSet};
use tokio::sync::{mpsc, watch};

use crate::http::{Cores, EdgeMetrics, TICK};

use super::doors::{Change, Doors, Key, key};
use super::gate::Gate;
use super::tls::Tls;
use super::{Door, EdgeConfig, EdgeDeps, EdgeError};

/// A door and one listener for each core.
pub(super) type Entrance = (Door, Vec<TcpListener>);

/// A bound edge; nothing is served before [`Edge::run`].
pub struct Edge {
    config: EdgeConfig,
    http: Entrance,
    https: Entrance,
    tls: Arc<Tls>,
    deps: EdgeDeps,
    metrics: EdgeMetrics,
}

impl Edge {
    pub(super) fn new(
        config: EdgeConfig,
        http: Entrance,
        https: Entrance,
        tls: Arc<Tls>,
        deps: EdgeDeps,
    ) -> Edge {
        let metrics = EdgeMetrics::new(http.1.len());
        Edge {
            config,
            http,
            https,
            tls,
            deps,
            metrics,
        }
    }

    /// What the edge counts, readable while and after it runs.
    pub fn metrics(&self) -> EdgeMetrics {
        self.metrics.clone()
    }

    /// Where the edge listens for plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.http.0.address()
    }

    /// Where the edge listens for TLS.
    pub fn https_address(&self) -> SocketAddr {
        self.https.0.address()
    }

    /// Serves until `stop`, then lets open connections finish for a while.
    ///
    /// # Errors
    /// [`EdgeError::Thread`] if a thread could not be started; those that were are stopped again.
    pub async fn run(self, stop: Stop) -> Result<(), EdgeError> {
        let stop = stop.child_token();
        let ended_early = stop.clone().drop_guard();
        let ((http, https), drain) = ((self.http, self.https), self.config.drain);
        let cores = Cores::new(&self.config, &self.deps, &self.metrics);
        let (mut threads, mut told) = (Vec::new(), Vec::new());
        for (index, sockets) in http.1.into_iter().zip(https.1).enumerate() {
            let core = Arc::new(cores.core(index, https.0.bound));
            let gate = Arc::new(Gate {
                core,
                tls: Arc::clone(&self.tls),
                balancers: self.config.accept_proxy_protocol.clone(),
                passages: self.config.passages.clone(),
                connections: TaskSet::new(),
            });
            let doors = [(http.0, sockets.0), (https.0, sockets.1)];
            let stop = stop.clone();
            let (changes, changed) = mpsc::unbounded_channel();
            told.push(changes);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(EdgeError::Thread)?;
            let thread = std::thread::Builder::new()
                .name("edge".to_owned())
                .spawn(move || runtime.block_on(run_core(gate, doors, changed, drain, stop)))
                .map_err(EdgeError::Thread)?;
            threads.push(thread);
        }
        let doors = Doors {
            fleet: self.deps.fleet,
            region: self.config.region,
            with_everywhere: self.config.serves_everywhere,
            cores: told,
            taken: [http.0.address(), https.0.address()],
            open: BTreeSet::new(),
            failed: BTreeSet::new(),
        };
        tokio::join!(
            follow_directory(&self.tls, self.deps.directory, &stop),
            doors.run(stop.clone())
        );
        drop(ended_early);
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a thread of the edge panicked");
        }
        Ok(())
    }
}

/// Keeps what all cores share up to date until `stop`.
async fn follow_directory(tls: &Tls, mut directory: watch::Receiver<Arc<Directory>>, stop: &Stop) {
    loop {
        let now = Arc::clone(&directory.borrow_and_update());
        tls.certificates.publish(&now);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = directory.changed() => if changed.is_err() {
                // The control plane is gone: go on with the last thing known.
                stop.cancelled().await;
                return;
            },
        }
    }
}

async fn run_core(
    gate: Arc<Gate>,
    doors: [(Door, TcpListener); 2],
    mut changes: mpsc::UnboundedReceiver<Change>,
    drain: Duration,
    stop: Stop,
) {
    let accepting = TaskSet::under(&stop);
    let mut open = HashMap::new();
    for (door, socket) in doors {
        change(&gate, &accepting, &mut open, Change::Open(door, socket)).await;
    }
    let mut sweep = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = sweep.tick() => gate.core.sweep(),
            Some(told) = changes.recv() => change(&gate, &accepting, &mut open, told).await,
        }
    }
    accepting.shut_down(drain).await;
    gate.connections.shut_down(drain).await;
}

/// Opens or closes a door of one core. What came in at it stays.
async fn change(
    gate: &Arc<Gate>,
    accepting: &TaskSet,
    open: &mut HashMap<Key, Stop>,
    change: Change,
) {
    let gate = Arc::clone(gate);
    let begun = match change {
        Change::Close(key) => {
            if let Some(stop) = open.remove(&key) {
                stop.cancel();
            }
            return;
        }
        Change::Open(door, socket) => match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                let stop = accepting.stop_token().child_token();
                open.insert(key(&door, Protocol::Tcp), stop.clone());
                accepting
                    .spawn("edge.accept", |_| gate.accept(listener, door, stop))
                    .await;
                Ok(())
            }
            Err(error) => Err((door, error)),
        },
        Change::OpenUdp(door, socket) => match tokio::net::UdpSocket::from_std(socket) {
            Ok(socket) => {
                let stop = accepting.stop_token().child_token();
                open.insert(key(&door, Protocol::Udp), stop.clone());
                accepting
                    .spawn("edge.receive", |_| gate.serve_udp(socket, door, stop))
                    .await;
                Ok(())
            }
            Err(error) => Err((door, error)),
        },
    };
    if let Err((door, error)) = begun {
        tracing::error!(address = %door.address(), error = %error, "door cannot be served");
    }
}
