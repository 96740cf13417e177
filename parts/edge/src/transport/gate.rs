//! From an accepted connection to what serves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::TlsOptions;
use mayfly_runtime::{Stop, TaskSet};
use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::http::Core;

use super::proxy_protocol::{Ends, Header};
use super::tls::{self, HANDSHAKE_PATIENCE, HandshakeError, Tls};
use super::{AddressRange, ConnInfo, Door, TlsInfo};

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
                    let gate = Arc::clone(&self);
                    self.connections
                        .spawn_guarded("edge.connection", |stop| async move {
                            gate.serve(stream, peer, door, stop).await;
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

    async fn serve(&self, mut stream: TcpStream, mut peer: SocketAddr, door: Door, stop: Stop) {
        if self.balancers.iter().any(|range| range.contains(peer.ip())) {
            match timeout(HEADER_PATIENCE, read_header(&mut stream)).await {
                Ok(Ok(ends)) => peer = ends.map_or(peer, |ends| ends.client),
                Ok(Err(error)) => return tracing::debug!(%peer, error = %error, "no PROXY header"),
                Err(_) => return tracing::debug!(%peer, "no PROXY header in time"),
            }
        }
        let conn = ConnInfo {
            peer,
            door,
            tls: None,
        };
        if door.port == 443 {
            self.serve_tls(stream, conn, stop).await;
        } else {
            self.core.serve(stream, conn, stop).await;
        }
    }

    async fn serve_tls(&self, stream: TcpStream, conn: ConnInfo, stop: Stop) {
        let peer = conn.peer;
        let shaken = timeout(HANDSHAKE_PATIENCE, self.shake_hands(stream));
        match shaken.await.unwrap_or(Err(HandshakeError::Late)) {
            Ok(Some((stream, tls))) => {
                let conn = ConnInfo {
                    tls: Some(tls),
                    ..conn
                };
                self.core.serve(stream, conn, stop).await;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%peer, error = mayfly_runtime::report(&error), "no TLS");
            }
        }
    }

    /// `None` when all that was asked for was a proof.
    async fn shake_hands(
        &self,
        mut stream: TcpStream,
    ) -> Result<Option<(tokio_rustls::server::TlsStream<TcpStream>, TlsInfo)>, HandshakeError> {
        let greeting = match tls::read_greeting(&mut stream).await {
            Ok(greeting) => greeting,
            Err(error) => {
                if let HandshakeError::NotHello(_, bytes) = &error
                    && bytes.first().is_some_and(u8::is_ascii_uppercase)
                {
                    let _ = stream.write_all(NOT_TLS).await;
                }
                return Err(error);
            }
        };
        if greeting.hello.proves_ownership {
            return self.tls.prove(stream, greeting).await.map(|()| None);
        }
        let server_name = greeting.hello.server_name.as_deref().map(Arc::from);
        let stream = self
            .tls
            .accept(stream, greeting, &TlsOptions::default(), true)
            .await?;
        let tls = TlsInfo::of(stream.get_ref().1, server_name);
        Ok(Some((stream, tls)))
    }
}

impl TlsInfo {
    fn of(session: &rustls::ServerConnection, server_name: Option<Arc<str>>) -> TlsInfo {
        TlsInfo {
            server_name,
            h2: session.alpn_protocol() == Some(b"h2"),
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
        }
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
