//! Tunnels over WebSockets, for devices whose network lets nothing else out.
//!
//! Who a device is, its datagrams say; the certificate of this door proves nothing, and clients do not look at it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_net::TlsServer;
use mayfly_runtime::{Stop, TaskSet, report};
use mayfly_wireguard::{Interface, InterfaceError, Inward, Outward};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::debug;

use crate::framing::{Unframer, frame};
use crate::handshake::{REQUEST_MAX, Request, read};
use crate::message::{Control, Frames, begin_text, close, pong};

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// For TLS and the request together.
const BEGIN: Duration = Duration::from_secs(10);
/// Clients say something every second.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is gone.
const WRITE: Duration = Duration::from_secs(20);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DRAIN: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 32 * 1024;
/// Datagrams that leave by one write.
const WRITE_BYTES: usize = 64 * 1024;

/// A listener of TLS connections that carry WebSockets.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) tls: TlsServer,
    pub(crate) interface: Interface,
}

/// Why a connection ended, other than by its client's will.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("carry a tunnel")]
    Io(#[from] io::Error),
    #[error("no request in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("reach the tunnel")]
    Unreached(#[from] InterfaceError),
    #[error("read a WebSocket")]
    Violation(#[from] crate::message::Violation),
    #[error("read a tunnel")]
    Broken(#[from] crate::framing::Broken),
}

impl Door {
    pub(crate) async fn run(self, stop: Stop) {
        let connections = TaskSet::under(&stop);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = Arc::clone(&places).acquire_owned();
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async { (place.await, self.listener.accept().await) } => accepted,
            };
            let (Ok(place), Ok((stream, from))) = accepted else {
                // Out of descriptors, most likely; accepting at once again would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (tls, interface) = (self.tls.clone(), self.interface.clone());
            connections
                .spawn_guarded("gateway.websocket", move |stop| async move {
                    let _place = place;
                    let served = stop.run_until_cancelled(serve(stream, from, tls, interface));
                    if let Some(Err(error)) = served.await {
                        debug!(%from, error = report(&error), "tunnel over a WebSocket ended");
                    }
                })
                .await;
        }
        connections.shut_down(DRAIN).await;
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    tls: TlsServer,
    interface: Interface,
) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let begun = timeout(BEGIN, async {
        let mut stream = tls.accept(stream).await?;
        let early = upgrade(&mut stream).await?;
        Ok::<_, io::Error>(early.map(|early| (stream, early)))
    });
    let Some((stream, early)) = begun.await?? else {
        return Ok(());
    };
    let (reader, writer) = tokio::io::split(stream);
    let (inward, outward) = interface.relay(from.ip().to_canonical()).await?;
    let (asked, requests) = mpsc::channel(4);
    tokio::select! {
        ended = from_device(reader, early, inward, asked) => ended,
        ended = to_device(writer, outward, requests) => ended.map_err(Ended::from),
    }
}

/// Answers the request. What was read behind it, or `None` if no WebSocket was asked for.
async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match read(&bytes) {
            Request::Partial => {}
            Request::Refused(answer) => {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                return Ok(None);
            }
            Request::Upgrade { answer, length } => {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
                return Ok(Some(bytes.split_off(length)));
            }
        }
        let room = (REQUEST_MAX - bytes.len().min(REQUEST_MAX)) as u64;
        if (&mut *stream).take(room).read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads until the device closes or falls silent.
async fn from_device(
    mut stream: impl AsyncRead + Unpin,
    mut early: Vec<u8>,
    mut inward: Inward,
    asked: mpsc::Sender<Control>,
) -> Result<(), Ended> {
    let (mut frames, mut tunnel) = (Frames::default(), Unframer::default());
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = early.as_mut_slice();
    loop {
        let mut broken = Ok(());
        let requests = frames.take(bytes, |data| {
            if broken.is_ok() {
                broken = tunnel.take(data, |datagram| inward.deliver(datagram));
            }
        })?;
        broken?;
        for request in requests {
            let closes = request == Control::Close;
            // A client that pings faster than it reads gets fewer answers.
            let _ = asked.try_send(request);
            if closes {
                // The writer ends the connection once it has said so.
                std::future::pending::<()>().await;
            }
        }
        let length = timeout(SILENCE_MAX, stream.read(&mut buffer)).await??;
        if length == 0 {
            return Ok(());
        }
        bytes = &mut buffer[..length];
    }
}

/// Writes datagrams and answers to pings until told to close.
async fn to_device(
    mut stream: impl AsyncWrite + Unpin,
    mut outward: Outward,
    mut requests: mpsc::Receiver<Control>,
) -> io::Result<()> {
    let (mut out, mut content) = (Vec::new(), Vec::new());
    loop {
        out.clear();
        let mut closing = false;
        tokio::select! {
            Some(datagram) = outward.recv() => {
                content.clear();
                frame(&datagram, &mut content);
                while content.len() < WRITE_BYTES
                    && let Some(datagram) = outward.try_recv()
                {
                    frame(&datagram, &mut content);
                }
                begin_text(content.len(), &mut out);
                out.extend_from_slice(&content);
            }
            Some(request) = requests.recv() => match request {
                Control::Ping(content) => pong(&content, &mut out),
                Control::Close => {
                    close(&mut out);
                    closing = true;
                }
            },
            else => return Ok(()),
        }
        timeout(WRITE, async {
            stream.write_all(&out).await?;
            stream.flush().await
        })
        .await??;
        if closing {
            return stream.shutdown().await;
        }
    }
}
