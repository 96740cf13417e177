//! Multiplexed connections to machines that speak HTTP/2 without TLS (`h2_backend`), by prior knowledge.
//!
//! A core keeps one connection per machine and opens another only when the machine takes no more streams on it. A
//! connection that the machine says goodbye on takes no new requests and ends with its last one.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{self, SendRequest};
use mayfly_runtime::{Stop, TaskSet};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::http::attempt::NEVER_SEEN;

/// A machine is on this host or a tunnel away: longer than this means it is not listening, or not for HTTP/2.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Connections of one core to one machine, at most.
const LINKS_MAX: usize = 4;
/// How long a connection without streams is kept.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A busy connection is asked this often whether its machine still lives, and given about as long to answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_PATIENCE: Duration = Duration::from_secs(9);
/// What one answer may hold of our memory while its client is slow.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Beyond any sum of the above: a slow client must not stop the others that share the connection.
const CONNECTION_WINDOW: u32 = 1 << 30;
const FRAME_MAX: u32 = 64 * 1024;
const HEADER_LIST_MAX: u32 = 64 * 1024;
const RESET_STREAMS_MAX: usize = 100;

/// The connections of one core.
#[derive(Debug, Default)]
pub(crate) struct Links {
    machines: Mutex<HashMap<SocketAddr, Arc<Machine>>>,
    /// Ended with the core.
    drivers: TaskSet,
}

#[derive(Debug, Default)]
struct Machine {
    /// One connection is opened at a time; who waits for it may find a place on it.
    opening: tokio::sync::Mutex<()>,
    links: Mutex<Vec<Link>>,
}

#[derive(Clone, Debug)]
struct Link {
    sender: SendRequest<Bytes>,
    state: Arc<LinkState>,
}

#[derive(Debug, Default)]
struct LinkState {
    streams: AtomicUsize,
    closed: AtomicBool,
    /// Somebody has to know what the machine allows.
    asked: Notify,
    /// The machine's settings are known.
    settled: watch::Sender<bool>,
}

/// A place for one request; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    sender: SendRequest<Bytes>,
    state: Arc<LinkState>,
    reused: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    pub(super) fn sender(&mut self) -> &mut SendRequest<Bytes> {
        &mut self.sender
    }

    /// Whether the machine takes WebSockets on the connection (RFC 8441). Waits until its settings have come.
    pub(crate) async fn takes_websockets(&self) -> bool {
        let is_enabled = || self.sender.is_extended_connect_protocol_enabled();
        if !is_enabled() {
            let mut settled = self.state.settled.subscribe();
            self.state.asked.notify_one();
            // One that never says so does not.
            let _ = timeout(CONNECT_PATIENCE, settled.wait_for(|settled| *settled)).await;
        }
        is_enabled()
    }

    /// Whether the connection has carried requests before: its end may be under way already.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Links {
    /// A place on a connection to `address`, opened if none has one. `fresh` opens one in any case.
    ///
    /// # Errors
    /// Those of connecting, and `InvalidData` if what listens there does not speak HTTP/2.
    pub(crate) async fn place(&self, address: SocketAddr, fresh: bool) -> io::Result<Place> {
        let machine = Arc::clone(lock(&self.machines).entry(address).or_default());
        if !fresh && let Some(place) = machine.place().await {
            return Ok(place);
        }
        let _opening = machine.opening.lock().await;
        if !fresh && let Some(place) = machine.place().await {
            return Ok(place);
        }
        let link = self.open(address).await?;
        let place = link.take(false);
        lock(&machine.links).push(link);
        Ok(place)
    }

    async fn open(&self, address: SocketAddr) -> io::Result<Link> {
        let opened = timeout(CONNECT_PATIENCE, async {
            let stream = TcpStream::connect(address).await?;
            // Without it small requests wait for acknowledgements; a socket that refuses the option still works.
            let _ = stream.set_nodelay(true);
            client::Builder::new()
                .enable_push(false)
                .initial_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_frame_size(FRAME_MAX)
                .max_header_list_size(HEADER_LIST_MAX)
                .max_concurrent_reset_streams(RESET_STREAMS_MAX)
                .max_send_buffer_size(STREAM_WINDOW as usize)
                .handshake(stream)
                .await
                .map_err(into_io)
        });
        let (sender, connection) = opened
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let state = Arc::new(LinkState::default());
        let driven = Arc::clone(&state);
        self.drivers
            .spawn_guarded("edge.h2_link", move |stop| async move {
                drive(connection, &driven, address, stop).await;
                driven.closed.store(true, Ordering::Relaxed);
            })
            .await;
        Ok(Link { sender, state })
    }

    /// Forgets connections that have ended; called now and then by the core.
    pub(crate) fn sweep(&self) {
        lock(&self.machines).retain(|_, machine| {
            let mut links = lock(&machine.links);
            links.retain(|link| !link.state.closed.load(Ordering::Relaxed));
            !links.is_empty() || Arc::strong_count(machine) > 1
        });
    }
}

impl Machine {
    /// The place on the connection with the fewest streams, unless another connection should be opened.
    async fn place(&self) -> Option<Place> {
        loop {
            let link = {
                let mut links = lock(&self.links);
                links.retain(|link| !link.state.closed.load(Ordering::Relaxed));
                let link = links.iter().min_by_key(|link| link.streams())?;
                if link.streams() >= link.sender.current_max_send_streams()
                    && links.len() < LINKS_MAX
                {
                    return None;
                }
                link.clone()
            };
            // An error says goodbye; this waits only where the machine allows no more streams on any connection.
            match link.sender.clone().ready().await {
                Ok(_) => return Some(link.take(true)),
                Err(_) => link.state.closed.store(true, Ordering::Relaxed),
            }
        }
    }
}

impl Link {
    fn streams(&self) -> usize {
        self.state.streams.load(Ordering::Relaxed)
    }

    fn take(&self, reused: bool) -> Place {
        self.state.streams.fetch_add(1, Ordering::Relaxed);
        Place {
            sender: self.sender.clone(),
            state: Arc::clone(&self.state),
            reused,
        }
    }
}

/// Moves the connection's frames until it ends, has been idle for long, or the machine is silent.
async fn drive(
    mut connection: client::Connection<TcpStream, Bytes>,
    state: &LinkState,
    address: SocketAddr,
    stop: Stop,
) {
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    let mut tick = tokio::time::interval(PING_EVERY);
    let (mut asked, mut busy) = (None::<Instant>, Instant::now());
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%address, error = %error, "a connection to a machine broke");
                }
                return;
            }
            () = stop.cancelled() => return,
            _ = poll_fn(|cx| pings.poll_pong(cx)), if asked.is_some() => {
                asked = None;
                // They come before anything else (RFC 9113, 3.4).
                state.settled.send_replace(true);
            }
            () = state.asked.notified(), if asked.is_none() => {
                asked = pings.send_ping(h2::Ping::opaque()).is_ok().then(Instant::now);
            }
            _ = tick.tick() => {
                let now = Instant::now();
                if state.streams.load(Ordering::Relaxed) > 0 {
                    busy = now;
                } else if now.duration_since(busy) > IDLE_MAX {
                    return;
                }
                match asked {
                    Some(asked) if now.duration_since(asked) >= PONG_PATIENCE => {
                        tracing::debug!(%address, "a machine no longer answers on its connection");
                        return;
                    }
                    None if busy == now && pings.send_ping(h2::Ping::opaque()).is_ok() => asked = Some(now),
                    _ => {}
                }
            }
        }
    }
}

/// The error as the byte stream it ended would report it.
pub(super) fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    let kind = if error.is_remote() && refuses(&error) {
        NEVER_SEEN
    } else if error.is_go_away() || error.is_reset() {
        io::ErrorKind::ConnectionReset
    } else {
        io::ErrorKind::InvalidData
    };
    io::Error::new(kind, error)
}

/// A stream the peer says it did nothing for (RFC 9113, 8.7). The implementation gives streams above the last one of a
/// goodbye its reason.
fn refuses(error: &h2::Error) -> bool {
    error.reason() == Some(Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.reason() == Some(Reason::NO_ERROR))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
