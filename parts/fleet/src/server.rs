//! The answering side: one listener for all hosts of a server, and on the first server for the control plane.

mod feed;
mod host;
mod session;
mod watching;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::RoleFacts;
use mayfly_fleet_api::{CONTROL_NAME, Call, CallError, ControlDoor, Roster, named_server};
use mayfly_host_api::HostApi;
use mayfly_image::ImageStore;
use mayfly_net::{Acceptor, MutualTls, PeerAddr};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::{ErrorKind, HostId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use crate::images;
use crate::led_api::{self, LedApi};
use crate::line::{Answer, Line, watch_over};
use crate::registry::{self, LedRegistry};

pub(crate) use session::SessionInput;

const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may lie idle between calls.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Connections at once: every server holds a few to every other.
const CONNECTIONS_MAX: usize = 2048;
const DRAIN: Duration = Duration::from_secs(2);

/// What a server answers with.
pub struct ListenerDeps {
    pub tls: Arc<MutualTls>,
    pub hosts: BTreeMap<HostId, Arc<dyn HostApi>>,
    pub images: ImageStore,
    /// Where the cloud's registry is.
    pub registry: Option<LedRegistry>,
    /// The cloud's API, where the control plane is.
    pub api: Option<Arc<dyn LedApi>>,
    /// Where the control plane is.
    pub control: Option<Arc<dyn ControlDoor>>,
    /// Who may ask.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// For archives on their way in.
    pub uploads: PathBuf,
}

/// Answers the other servers of the fleet.
pub struct Listener {
    listener: TcpListener,
    deps: Arc<ListenerDeps>,
}

/// Who asks, as its certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// It showed no certificate: it may join.
    Stranger,
    Control,
    Server(HostId),
}

impl Listener {
    pub fn new(listener: TcpListener, deps: ListenerDeps) -> Self {
        Self {
            listener,
            deps: Arc::new(deps),
        }
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until told to stop.
    pub async fn run(self, stop: Stop) {
        let connections = TaskSet::under(&stop);
        let acceptor = Acceptor::new(self.listener, CONNECTIONS_MAX);
        while let Some((stream, PeerAddr(peer), place)) = acceptor.next(&stop).await {
            let deps = self.deps.clone();
            connections
                .spawn_guarded("fleet.connection", move |stop| async move {
                    let served = serve(&deps, stream, peer);
                    if let Some(Err(error)) = stop.run_until_cancelled(served).await {
                        debug!(%peer, %error, "connection ended");
                    }
                    drop(place);
                })
                .await;
        }
        connections.shut_down(DRAIN).await;
    }
}

async fn serve(deps: &ListenerDeps, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    watch_over(&stream)?;
    let accepted = timeout(HANDSHAKE_PATIENCE, deps.tls.accept(stream)).await;
    let (stream, leaf) = accepted.map_err(|_| io::ErrorKind::TimedOut)??;
    let asker = leaf.map_or(Asker::Stranger, |leaf| asker_of(&leaf));
    let mut line = Line::new(stream);
    while let Ok(frame) = timeout(IDLE_MAX, line.reader.next()).await {
        let Some(frame) = frame? else { break };
        let call: Call = match frame.message() {
            Ok(call) => call,
            Err(error) => {
                let text = format!("the call is not understood: {error}");
                let answer: Answer<()> = Err(CallError::new(ErrorKind::Invalid, text));
                return line.writer.answer(&answer).await;
            }
        };
        match deps.answer(asker, call, peer, line).await? {
            Some(free) => line = free,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn asker_of(leaf: &[u8]) -> Asker {
    let names = RoleFacts::of(leaf).map_or_else(Vec::new, |facts| facts.names);
    if names.iter().any(|name| name == CONTROL_NAME) {
        return Asker::Control;
    }
    let server = names.iter().find_map(|name| named_server(name));
    server.map_or(Asker::Stranger, Asker::Server)
}

impl ListenerDeps {
    /// Answers one call; the line comes back unless the call used it up.
    async fn answer(
        &self,
        asker: Asker,
        call: Call,
        peer: SocketAddr,
        mut line: Line,
    ) -> io::Result<Option<Line>> {
        if let Err(error) = self.admit(asker, &call) {
            let answer: Answer<()> = Err(error);
            line.writer.answer(&answer).await?;
            return Ok(Some(line));
        }
        match call {
            Call::Join(request) => {
                let answer = match &self.control {
                    Some(control) => control.join(*request, peer.ip()).await,
                    None => Err(no_control()),
                };
                line.writer.answer(&answer).await?;
            }
            Call::Renew { request } => {
                let answer = match (&self.control, asker) {
                    (Some(control), Asker::Server(server)) => control.renew(server, request).await,
                    _ => Err(no_control()),
                };
                line.writer.answer(&answer).await?;
            }
            Call::Feed(hello) => {
                let (Some(control), Asker::Server(server)) = (&self.control, asker) else {
                    line.writer.answer::<()>(&Err(no_control())).await?;
                    return Ok(Some(line));
                };
                let answer = control.hello(server, *hello, peer.ip()).await;
                line.writer.answer(&answer).await?;
                if answer.is_err() {
                    return Ok(Some(line));
                }
                feed::publish(&**control, server, line).await?;
                return Ok(None);
            }
            Call::Load(load) => {
                let answer = match (&self.control, asker) {
                    (Some(control), Asker::Server(server)) => control.load(server, load).await,
                    _ => Err(no_control()),
                };
                line.writer.answer(&answer).await?;
            }
            Call::Host { host, call } => {
                let Some(host) = self.hosts.get(&host) else {
                    let text = format!("host {host} is not on this server");
                    let answer: Answer<()> = Err(CallError::new(ErrorKind::NotFound, text));
                    line.writer.answer(&answer).await?;
                    return Ok(Some(line));
                };
                return host::answer(host, *call, &self.uploads, line).await;
            }
            Call::Image(call) => return images::answer(self, call, line).await.map(Some),
            Call::Registry { client } => {
                let Some(registry) = &self.registry else {
                    line.writer.answer::<()>(&Err(no_control())).await?;
                    return Ok(Some(line));
                };
                return registry::lead(registry, client, line).await;
            }
            Call::Api(visitor) => {
                let (Some(api), Asker::Server(server)) = (&self.api, asker) else {
                    line.writer.answer::<()>(&Err(no_control())).await?;
                    return Ok(Some(line));
                };
                return led_api::lead(&**api, server, visitor, line).await;
            }
        }
        Ok(Some(line))
    }

    /// Whether `asker` may do this. What a certificate says counts only as far as the roster knows it.
    fn admit(&self, asker: Asker, call: &Call) -> Result<(), CallError> {
        let denied = |text: &str| Err(CallError::new(ErrorKind::Denied, text));
        match (asker, call) {
            (_, Call::Join(_)) | (Asker::Control, _) => Ok(()),
            (Asker::Stranger, _) => denied("a certificate of this fleet is needed"),
            // The control plane looks into its store, which knows who was removed.
            (Asker::Server(_), Call::Feed(_) | Call::Renew { .. }) => Ok(()),
            (Asker::Server(server), _) if self.roster.borrow().server(server).is_none() => {
                Err(CallError::Removed)
            }
            (
                Asker::Server(_),
                Call::Image(_) | Call::Registry { .. } | Call::Api(_) | Call::Load(_),
            ) => Ok(()),
            (Asker::Server(_), Call::Host { call, .. }) if host::is_for_edges(call) => Ok(()),
            (Asker::Server(_), Call::Host { .. }) => denied("only the control plane may do this"),
        }
    }
}

fn no_control() -> CallError {
    CallError::new(
        ErrorKind::NotFound,
        "the control plane is not on this server",
    )
}
