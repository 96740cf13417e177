//! Questions over datagrams and connections, whoever answers them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a TCP connection may wait for its next question (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 1024;
pub(crate) const DRAIN: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest message that fits behind a length.
pub(crate) const TCP_MAX: usize = u16::MAX as usize;

/// Where questions are answered, whatever way they came.
pub(crate) trait Answers: Send + Sync + 'static {
    fn reply(&self, bytes: &[u8], asker: IpAddr, by_tcp: bool) -> Outcome;

    /// Has the question answered elsewhere; called for those that [`Answers::reply`] says so of.
    fn forward(&self, bytes: &[u8], by_tcp: bool) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

pub(crate) enum Outcome {
    Answer(Vec<u8>),
    /// Not ours: another resolver has to be asked.
    Forward,
    Ignore,
}

#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for questions about names")]
pub struct ListenError {
    pub(crate) address: SocketAddr,
    #[source]
    pub(crate) source: io::Error,
}

impl ListenError {
    pub fn kind(&self) -> ErrorKind {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        }
    }
}

/// Binds both kinds of socket at one port.
pub(crate) async fn bind(
    listen: SocketAddr,
) -> Result<(SocketAddr, UdpSocket, TcpListener), ListenError> {
    let failed = |source| ListenError {
        address: listen,
        source,
    };
    let udp = UdpSocket::bind(listen).await.map_err(failed)?;
    let address = udp.local_addr().map_err(failed)?;
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    Ok((address, udp, tcp))
}

/// Has `desk` answer until `stop`.
pub(crate) async fn serve<D: Answers>(desk: Arc<D>, udp: UdpSocket, tcp: TcpListener, stop: Stop) {
    let tasks = TaskSet::new();
    let udp_desk = Arc::clone(&desk);
    tasks
        .spawn("names.udp", move |stop| serve_udp(udp_desk, udp, stop))
        .await;
    tasks
        .spawn("names.tcp", move |stop| serve_tcp(desk, tcp, stop))
        .await;
    stop.cancelled().await;
    tasks.shut_down(DRAIN).await;
}

async fn serve_udp<D: Answers>(desk: Arc<D>, socket: UdpSocket, stop: Stop) {
    let (socket, forwards) = (Arc::new(socket), TaskSet::new());
    let mut buffer = vec![0; 4096];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        // Errors of a datagram socket are about datagrams sent earlier.
        let Ok((length, asker)) = received else {
            continue;
        };
        match desk.reply(&buffer[..length], asker.ip(), false) {
            Outcome::Answer(message) => {
                // An asker that cannot be reached asks again.
                let _ = socket.send_to(&message, asker).await;
            }
            Outcome::Ignore => {}
            Outcome::Forward => {
                let (desk, socket) = (Arc::clone(&desk), Arc::clone(&socket));
                let bytes = buffer[..length].to_vec();
                forwards
                    .spawn_guarded("names.forward", move |_| async move {
                        if let Some(message) = desk.forward(&bytes, false).await {
                            let _ = socket.send_to(&message, asker).await;
                        }
                    })
                    .await;
            }
        }
    }
    forwards.shut_down(DRAIN).await;
}

pub(crate) async fn serve_tcp<D: Answers>(desk: Arc<D>, listener: TcpListener, stop: Stop) {
    let connections = TaskSet::new();
    let free = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, asker)) = accepted else {
            // Out of descriptors, most likely; accepting at once again would spin.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            continue;
        };
        let desk = Arc::clone(&desk);
        connections
            .spawn_guarded("names.connection", move |stop| async move {
                let _permit = permit;
                tokio::select! {
                    () = stop.cancelled() => {}
                    // The asker ended it, or sent what is no message.
                    _ = converse(&*desk, stream, asker.ip()) => {}
                }
            })
            .await;
    }
    connections.shut_down(DRAIN).await;
}

/// Question after question over one connection, each behind its length.
async fn converse<D: Answers>(desk: &D, mut stream: TcpStream, asker: IpAddr) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut bytes = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let message = match desk.reply(&bytes, asker, true) {
            Outcome::Answer(message) => Some(message),
            Outcome::Forward => desk.forward(&bytes, true).await,
            Outcome::Ignore => None,
        };
        let Some(message) = message else {
            return Ok(());
        };
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &message].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}
