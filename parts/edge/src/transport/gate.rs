//! From an accepted connection to what serves it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::{Handler, PortSpec, Protocol, TlsOptions};
use mayfly_net::Doorway;
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::NetworkId;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::fleet::{App, Service};
use crate::http::{Channel, Core};

use super::postgres::{self, Opening};
use super::proxy_protocol::{Ends, Header};
use super::raw::{self, Machine, RawError};
use super::tls::{self, Greeting, HANDSHAKE_PATIENCE, HandshakeError, Inside, Tls, TlsStream};
use super::treatment::Treatment;
use super::{AddressRange, ConnInfo, Door, Reach, TlsInfo};

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a load balancer may take to say who its client is.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);

const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 38\r\nConnection: close\r\n\r\n\
    This port speaks TLS: use https://...\n";

/// What all doors of one core lead to.
pub(crate) struct Gate {
    pub(crate) core: Arc<Core>,
    pub(crate) tls: Arc<Tls>,
    /// Whose PROXY headers are believed, and required.
    pub(crate) balancers: Vec<AddressRange>,
    /// Where names lead that are no app's.
    pub(crate) passages: BTreeMap<String, Doorway>,
    pub(crate) connections: TaskSet,
}

impl Gate {
    /// Accepts what comes in at `door` until `stop`.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, door: Door, stop: Stop) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = self.core.room.enter() else {
                        tracing::debug!(%peer, "more connections than edge.limits.connections");
                        continue;
                    };
                    let gate = Arc::clone(&self);
                    self.connections
                        .spawn_guarded("edge.connection", |stop| async move {
                            gate.serve(stream, peer, door, stop).await;
                            drop(place);
                        })
                        .await;
                }
                Err(error) => {
                    // Out of descriptors, most likely; accepting at once again would spin.
                    tracing::warn!(error = %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, mut stream: TcpStream, peer: SocketAddr, door: Door, stop: Stop) {
        let mut told = None;
        if self.balancers.iter().any(|range| range.contains(peer.ip())) {
            match Box::pin(timeout(HEADER_PATIENCE, read_header(&mut stream))).await {
                Ok(Ok(ends)) => told = ends,
                Ok(Err(error)) => return tracing::debug!(%peer, error = %error, "no PROXY header"),
                Err(_) => return tracing::debug!(%peer, "no PROXY header in time"),
            }
        }
        if door.reach == Reach::Shared && door.port == 80 {
            let conn = ConnInfo {
                peer: told.map_or(peer, |ends| ends.client),
                door,
                tls: None,
            };
            // Each way in memory of its own, so that the shortest one takes little.
            return Box::pin(self.core.serve(Channel::new(stream), conn, stop)).await;
        }
        let ends = told.unwrap_or_else(|| Ends {
            client: peer,
            server: stream.local_addr().unwrap_or_else(|_| door.address()),
        });
        let peer = ends.client;
        let served = match door.reach {
            Reach::Shared => Box::pin(self.serve_shared_tls(stream, ends, door, stop)).await,
            Reach::Private(network) if !is_inside(peer.ip(), network) => {
                return tracing::debug!(%peer, address = %door.address(), "not of this network");
            }
            Reach::Dedicated | Reach::Private(_) => {
                Box::pin(self.serve_alone(stream, ends, door, stop)).await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, address = %door.address(), error = mayfly_runtime::report(&error), "connection not served");
        }
    }

    /// A shared address: the name in the client's first message is the app's.
    async fn serve_shared_tls(
        &self,
        mut stream: TcpStream,
        ends: Ends,
        door: Door,
        stop: Stop,
    ) -> Result<(), GateError> {
        let begun = Instant::now();
        let greeting = self.greeting(&mut stream, begun).await?;
        let name = greeting.hello.server_name.as_deref();
        if let Some(doorway) = name.and_then(|name| self.passages.get(name))
            && door.port == 443
        {
            let doorway = doorway.clone();
            let (client, _) = self
                .end_tls(stream, greeting, None, Inside::Raw, begun)
                .await?;
            let inside = doorway.enter(Some(ends.client)).await?;
            return Ok(raw::lead(client, inside).await?);
        }
        let table = self.core.fleet.table();
        let app = name.and_then(|name| table.by_host(name));
        let way = app.and_then(|app| Way::of(app, door.port));
        drop(table);
        let treatment = way.as_ref().map(|way| Treatment::of(way.port()));
        match (way, treatment) {
            _ if greeting.hello.proves_ownership && self.tls.can_prove(name) => {
                Ok(Box::pin(self.tls.prove(stream, greeting)).await?)
            }
            (Some(way), Some(Treatment::Raw | Treatment::Http | Treatment::PgTls)) => {
                let mut first = way.header(ends);
                first.extend_from_slice(&greeting.bytes);
                self.pass_on(&way, first, stream).await
            }
            (Some(way), Some(Treatment::Tls)) => {
                let (client, _) = self
                    .end_tls(stream, greeting, Some(&way), Inside::Raw, begun)
                    .await?;
                self.pass_decoded(&way, ends, client).await
            }
            (way, _) => {
                // Whom a request is for, its own host name says: a client may use a connection for several names.
                self.serve_https(stream, greeting, way.as_ref(), (ends, door), begun, stop)
                    .await
            }
        }
    }

    /// An address of one app.
    async fn serve_alone(
        &self,
        mut stream: TcpStream,
        ends: Ends,
        door: Door,
        stop: Stop,
    ) -> Result<(), GateError> {
        let begun = Instant::now();
        let table = self.core.fleet.table();
        let way = table
            .by_address(door.ip)
            .and_then(|app| Way::of(app, door.port))
            .ok_or(GateError::NoService)?;
        drop(table);
        match Treatment::of(way.port()) {
            Treatment::Raw => self.pass_on(&way, way.header(ends), stream).await,
            Treatment::Http => {
                let conn = ConnInfo {
                    peer: ends.client,
                    door,
                    tls: None,
                };
                self.core.serve(Channel::new(stream), conn, stop).await;
                Ok(())
            }
            Treatment::Tls | Treatment::TlsHttp => {
                let greeting = self.greeting(&mut stream, begun).await?;
                if greeting.hello.proves_ownership
                    && self.tls.can_prove(greeting.hello.server_name.as_deref())
                {
                    // Rare, and large.
                    return Ok(Box::pin(self.tls.prove(stream, greeting)).await?);
                }
                if Treatment::of(way.port()) == Treatment::TlsHttp {
                    let whence = (ends, door);
                    return self
                        .serve_https(stream, greeting, Some(&way), whence, begun, stop)
                        .await;
                }
                let (client, _) = self
                    .end_tls(stream, greeting, Some(&way), Inside::Raw, begun)
                    .await?;
                self.pass_decoded(&way, ends, client).await
            }
            Treatment::PgTls => {
                let opening = timeout_at(begun + HANDSHAKE_PATIENCE, postgres::open(&mut stream));
                match opening.await.map_err(|_| HandshakeError::Late)?? {
                    Opening::Plain => Ok(()),
                    Opening::Cancel(request) => {
                        let first = [way.header(ends), request.to_vec()].concat();
                        self.pass_on(&way, first, stream).await
                    }
                    Opening::Tls => {
                        let greeting = self.greeting(&mut stream, begun).await?;
                        let (client, _) = self
                            .end_tls(stream, greeting, Some(&way), Inside::Postgres, begun)
                            .await?;
                        self.pass_decoded(&way, ends, client).await
                    }
                }
            }
        }
    }

    async fn serve_https(
        &self,
        stream: TcpStream,
        greeting: Greeting,
        way: Option<&Way>,
        (ends, door): (Ends, Door),
        begun: Instant,
        stop: Stop,
    ) -> Result<(), GateError> {
        let (client, tls) = self
            .end_tls(stream, greeting, way, Inside::Http, begun)
            .await?;
        let conn = ConnInfo {
            peer: ends.client,
            door,
            tls: Some(tls),
        };
        self.core.serve(client, conn, stop).await;
        Ok(())
    }

    async fn pass_on(&self, way: &Way, first: Vec<u8>, stream: TcpStream) -> Result<(), GateError> {
        let machine = Machine::open(&self.core.fleet, &way.service, &first).await?;
        drop(first);
        Ok(machine.relay(stream).await?)
    }

    async fn pass_decoded(
        &self,
        way: &Way,
        ends: Ends,
        client: Channel<TlsStream>,
    ) -> Result<(), GateError> {
        let machine = Machine::open(&self.core.fleet, &way.service, &way.header(ends)).await?;
        Ok(machine.relay_decoded(client).await?)
    }

    async fn greeting(
        &self,
        stream: &mut TcpStream,
        begun: Instant,
    ) -> Result<Greeting, HandshakeError> {
        let read = timeout_at(begun + HANDSHAKE_PATIENCE, tls::read_greeting(stream));
        let read = read.await.unwrap_or(Err(HandshakeError::Late));
        if let Err(HandshakeError::NotHello(_, bytes)) = &read
            && bytes.first().is_some_and(u8::is_ascii_uppercase)
        {
            let _ = stream.try_write(NOT_TLS);
        }
        read
    }

    async fn end_tls(
        &self,
        stream: TcpStream,
        greeting: Greeting,
        way: Option<&Way>,
        inside: Inside,
        begun: Instant,
    ) -> Result<(Channel<TlsStream>, TlsInfo), HandshakeError> {
        let server_name = greeting.hello.server_name.as_deref().map(Arc::from);
        let default = TlsOptions::default();
        let options = way.map_or(&default, |way| &way.port().tls);
        // What a handshake takes is given back after it; of its end only what is small is kept in the connection's task.
        let shaken = Box::pin(async {
            let (stream, agreed) = self.tls.accept(stream, greeting, options, inside).await?;
            Ok((Channel::new(stream), agreed))
        });
        let (client, agreed) = timeout_at(begun + HANDSHAKE_PATIENCE, shaken)
            .await
            .unwrap_or(Err(HandshakeError::Late))?;
        let tls = TlsInfo {
            server_name,
            h2: agreed.h2,
            version: agreed.version,
        };
        Ok((client, tls))
    }
}

/// A service and which of its ports was meant.
struct Way {
    service: Arc<Service>,
    /// Among the ports of the service.
    place: usize,
}

impl Way {
    fn of(app: &App, port: u16) -> Option<Way> {
        let (service, _) = app.port(port, Protocol::Tcp)?;
        let ports = &service.spec().ports;
        let place = ports
            .iter()
            .position(|spec| (spec.first..=spec.last).contains(&port))?;
        Some(Way {
            service: Arc::clone(service),
            place,
        })
    }

    fn port(&self) -> &PortSpec {
        &self.service.spec().ports[self.place]
    }

    /// What `proxy_proto` sends ahead; nothing without it.
    fn header(&self, ends: Ends) -> Vec<u8> {
        if self.port().handlers.contains(&Handler::ProxyProto) {
            ends.header(self.port().proxy_proto)
        } else {
            Vec::new()
        }
    }
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum GateError {
    #[error("no service at this port")]
    NoService,
    #[error("speak TLS")]
    Handshake(#[from] HandshakeError),
    #[error("hear what the client wants")]
    Opening(#[from] io::Error),
    #[error("reach a machine")]
    Raw(#[from] RawError),
}

/// Machines and peers of a network have the network's number in their addresses.
fn is_inside(peer: IpAddr, network: NetworkId) -> bool {
    match peer {
        IpAddr::V6(ip) => ip.to_bits() >> 80 == (0xfdaa << 32 | u128::from(network.0)),
        IpAddr::V4(_) => false,
    }
}

/// Takes the header from the stream and nothing after it.
async fn read_header(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    let mut bytes = vec![0; 4096];
    let mut seen = 0;
    loop {
        let peeked = stream
            .async_io(Interest::READABLE, || {
                let flags = rustix::net::RecvFlags::PEEK;
                let (count, _) = rustix::net::recv(&*stream, &mut bytes[..], flags)?;
                // What was there before is no news: wait for more.
                if count == seen && count > 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(count)
            })
            .await?;
        if peeked <= seen {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen = peeked;
        if let Some(header) = Header::parse(&bytes[..seen]).map_err(io::Error::other)? {
            stream.read_exact(&mut bytes[..header.length]).await?;
            return Ok(header.ends);
        }
    }
}
