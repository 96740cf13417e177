use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{Backoff, Stop};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::shortcut::Socket;

/// After an accept failed for want of file descriptors or memory.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(5),
    most: Duration::from_secs(1),
};

/// Who opened the connection; an extension of every request that [`crate::serve`] hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// A bound socket. Every connection comes with what its requests carry as an extension.
pub trait Listener: Send + Sync + 'static {
    type Stream: Socket;
    type Mark: Clone + Send + Sync + 'static;

    fn accept(&self) -> impl Future<Output = std::io::Result<(Self::Stream, Self::Mark)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Mark = PeerAddr;

    async fn accept(&self) -> std::io::Result<(TcpStream, PeerAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((stream, PeerAddr(peer)))
    }
}

/// A Unix socket; whoever connects is known by the socket they found.
pub struct MarkedSocket<T> {
    pub listener: UnixListener,
    pub mark: T,
}

impl<T: Clone + Send + Sync + 'static> Listener for MarkedSocket<T> {
    type Stream = UnixStream;
    type Mark = T;

    async fn accept(&self) -> std::io::Result<(UnixStream, T)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, self.mark.clone()))
    }
}

/// Accepts from a listener, so many connections at once; further ones wait in the kernel's queue.
pub struct Acceptor<L> {
    listener: L,
    places: Arc<Semaphore>,
}

impl<L: Listener> Acceptor<L> {
    pub fn new(listener: L, connections_max: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(connections_max)),
        }
    }

    /// The next connection, with its mark and its place, to be held as long as it lives; `None` once told to stop. What
    /// goes wrong is logged and tried again.
    pub async fn next(&self, stop: &Stop) -> Option<(L::Stream, L::Mark, OwnedSemaphorePermit)> {
        let mut failures = 0;
        loop {
            let accepted = stop.run_until_cancelled(self.accept()).await?;
            let error = match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => error,
            };
            warn!(%error, "accept failed");
            let pause = tokio::time::sleep(BACKOFF.pause(failures));
            stop.run_until_cancelled(pause).await?;
            failures += 1;
        }
    }

    async fn accept(&self) -> std::io::Result<(L::Stream, L::Mark, OwnedSemaphorePermit)> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (stream, mark) = self.listener.accept().await?;
        Ok((stream, mark, place))
    }
}
