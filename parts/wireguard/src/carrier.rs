use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

/// Datagrams that wait to be carried away by a relay; the next ones are dropped, as a full socket buffer would.
const RELAY_DEPTH: usize = 256;

/// A way to a peer that is not UDP: somebody carries whole datagrams between the peer and
/// [`Userspace::deliver`](crate::userspace::Userspace::deliver). Cheap to clone; two are equal if they are the same way.
#[derive(Clone, Debug)]
pub(crate) struct Relay(Arc<Carrier>);

#[derive(Debug)]
struct Carrier {
    from: IpAddr,
    queue: mpsc::Sender<Vec<u8>>,
}

impl Relay {
    /// A way to whoever is at `from`, and the datagrams to carry there. When the receiver is dropped, the way is shut.
    pub(crate) fn new(from: IpAddr) -> (Relay, mpsc::Receiver<Vec<u8>>) {
        let (queue, datagrams) = mpsc::channel(RELAY_DEPTH);
        (Relay(Arc::new(Carrier { from, queue })), datagrams)
    }

    pub(crate) fn from(&self) -> IpAddr {
        self.0.from
    }

    /// Whether the datagram found a place.
    pub(crate) fn carry(&self, datagram: &[u8]) -> bool {
        self.0.queue.try_send(datagram.to_vec()).is_ok()
    }
}

impl PartialEq for Relay {
    fn eq(&self, other: &Relay) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
