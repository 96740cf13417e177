use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UnixStream, unix};

use super::Door;
use super::tls::TlsStream;

/// A connection whose directions are used independently: plain TCP, TLS on top of it, or a
/// socket within this process.
pub(crate) trait ClientStream: Send + 'static {
    type Read: AsyncRead + Unpin + Send + 'static;
    type Write: AsyncWrite + Unpin + Send + 'static;

    fn into_halves(self) -> (Self::Read, Self::Write);
}

impl ClientStream for TcpStream {
    type Read = OwnedReadHalf;
    type Write = OwnedWriteHalf;

    fn into_halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        // Without it small answers wait for acknowledgements; a socket that refuses the option still works.
        let _ = self.set_nodelay(true);
        self.into_split()
    }
}

impl ClientStream for UnixStream {
    type Read = unix::OwnedReadHalf;
    type Write = unix::OwnedWriteHalf;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }
}

impl ClientStream for TlsStream {
    type Read = ReadHalf<TlsStream>;
    type Write = WriteHalf<TlsStream>;

    fn into_halves(self) -> (Self::Read, Self::Write) {
        let _ = self.tcp().set_nodelay(true);
        tokio::io::split(self)
    }
}

/// What is known about a client's connection before its first request.
#[derive(Clone, Debug)]
pub(crate) struct ConnInfo {
    /// The client itself, also behind a load balancer that says so by the PROXY protocol.
    pub(crate) peer: SocketAddr,
    pub(crate) door: Door,
    /// `None` on a connection without TLS.
    pub(crate) tls: Option<TlsInfo>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsInfo {
    /// The name the client asked for, lower case.
    pub(crate) server_name: Option<Arc<str>>,
    /// HTTP/2 was agreed on; otherwise HTTP/1.
    pub(crate) h2: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: &'static str,
}
