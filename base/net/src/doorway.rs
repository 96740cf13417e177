//! A way into a server of the same process, for whoever has a connection of somebody else's in hand.
//!
//! Nobody outside the process finds it, so what is said there about the other end need not be proved.

use std::io;
use std::net::SocketAddr;

use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};

use crate::listener::Listener;

/// Connections that wait to be accepted; as many as a kernel's queue usually takes.
const WAITING_MAX: usize = 128;

/// Who is at the other end, as far as whoever leads the connection knows; an extension of every request that
/// [`crate::serve`] hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedFor(pub Option<SocketAddr>);

/// The outer side; clones lead to the same server.
#[derive(Clone, Debug)]
pub struct Doorway(mpsc::Sender<(UnixStream, LedFor)>);

/// The inner side.
pub struct DoorwayListener(Mutex<mpsc::Receiver<(UnixStream, LedFor)>>);

impl Doorway {
    pub fn new() -> (Doorway, DoorwayListener) {
        let (outer, inner) = mpsc::channel(WAITING_MAX);
        (Doorway(outer), DoorwayListener(Mutex::new(inner)))
    }

    /// A connection to the server inside, for `client`; waits while too many others do.
    ///
    /// # Errors
    /// `ConnectionRefused` once the server has ended; what the system says if it has no descriptors left.
    pub async fn enter(&self, client: Option<SocketAddr>) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let entered = self.0.send((theirs, LedFor(client))).await;
        entered.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

impl Listener for DoorwayListener {
    type Stream = UnixStream;
    type Mark = LedFor;

    async fn accept(&self) -> io::Result<(UnixStream, LedFor)> {
        match self.0.lock().await.recv().await {
            Some(entered) => Ok(entered),
            // Whoever could enter is gone.
            None => std::future::pending().await,
        }
    }
}
