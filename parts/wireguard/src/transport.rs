//! The UDP side: where a peer is, and the socket.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use mayfly_sys::let_fragment;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::carrier::Relay;

/// Where a peer was heard last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Way {
    Udp(UdpWay),
    Relay(Relay),
}

/// An address of a peer, and the address of ours it speaks to: answers come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UdpWay {
    pub(crate) peer: SocketAddr,
    pub(crate) own: Option<IpAddr>,
}

impl Way {
    pub(crate) fn ip(&self) -> IpAddr {
        match self {
            Way::Udp(way) => way.peer.ip(),
            Way::Relay(relay) => relay.from(),
        }
    }

    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Way::Udp(way) => Some(SocketAddr::new(
                way.peer.ip().to_canonical(),
                way.peer.port(),
            )),
            Way::Relay(_) => None,
        }
    }
}

/// What a socket may hold of a burst; the kernel grants at most `net.core.rmem_max`.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket that sends and receives several datagrams by one call.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    offload: UdpSocketState,
    address: SocketAddr,
}

impl Udp {
    /// Must be called inside a runtime.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Udp> {
        let socket = std::net::UdpSocket::bind(address)?;
        let offload = UdpSocketState::new((&socket).into())?;
        let_fragment(&socket)?;
        offload.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES)?;
        offload.set_send_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES)?;
        let socket = UdpSocket::from_std(socket)?;
        let address = socket.local_addr()?;
        Ok(Udp {
            socket,
            offload,
            address,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a peer at `address` is reached through this socket.
    pub(crate) fn way_to(&self, address: SocketAddr) -> UdpWay {
        let peer = match (self.address.ip(), address.ip()) {
            (IpAddr::V6(_), IpAddr::V4(ip)) => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        };
        UdpWay { peer, own: None }
    }

    /// The most datagrams of one size that [`Udp::send`] takes at once.
    pub(crate) fn most_segments(&self) -> usize {
        self.offload.max_gso_segments()
    }

    /// Sends the datagrams that `contents` holds, each `segment` bytes long but for the last.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full. Others mean that this way leads nowhere at present.
    pub(crate) fn send(&self, way: UdpWay, contents: &[u8], segment: usize) -> io::Result<()> {
        let own = way.own.filter(|own| usable_source(*own));
        let transmit = |src_ip, contents, segment_size| Transmit {
            destination: way.peer,
            ecn: None,
            contents,
            segment_size,
            src_ip,
        };
        let put = |transmit: &Transmit<'_>| {
            self.socket.try_io(Interest::WRITABLE, || {
                self.offload.try_send((&self.socket).into(), transmit)
            })
        };
        let whole = transmit(own, contents, (contents.len() > segment).then_some(segment));
        match put(&whole) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // The address we were spoken to may be gone, or the interface cannot cut datagrams: try the plain way.
            Err(_) => contents
                .chunks(segment)
                .try_for_each(|datagram| put(&transmit(None, datagram, None))),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Waits for datagrams and fills `buffers` with them; how many buffers and what each holds is in `found`.
    pub(crate) async fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        found: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.socket
            .async_io(Interest::READABLE, || {
                self.offload.recv((&self.socket).into(), buffers, found)
            })
            .await
    }
}

/// Groups and the unspecified address are no source of ours.
fn usable_source(own: IpAddr) -> bool {
    !own.is_multicast() && !own.is_unspecified() && own != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}
