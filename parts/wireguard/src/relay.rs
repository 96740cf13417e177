//! Both ends of a way to a peer that is not UDP.
//!
//! This process's engine takes such datagrams directly. The kernel's knows UDP only: there each way is a socket on loopback
//! that speaks to the kernel's port, from an address that only such sockets have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::carrier::Relay;
use crate::error::InterfaceError;
use crate::receive::Receiver;
use crate::userspace::Userspace;

/// Where relays speak from: a /16 of loopback.
const SOURCES: [u8; 2] = [127, 87];
/// More than a packet of any tunnel takes with what WireGuard puts around it.
const DATAGRAM_BYTES: usize = 4096;

/// Takes what a peer sent.
pub struct Inward(InwardKind);

enum InwardKind {
    Userspace {
        interface: Userspace,
        receiver: Receiver,
        relay: Relay,
    },
    Kernel(Arc<UdpSocket>),
}

/// Gives what is to be carried to the peer.
pub struct Outward(OutwardKind);

enum OutwardKind {
    Userspace(mpsc::Receiver<Vec<u8>>),
    Kernel {
        socket: Arc<UdpSocket>,
        buffer: Vec<u8>,
    },
}

impl Inward {
    pub(crate) fn to_userspace(interface: &Userspace, from: IpAddr) -> (Inward, Outward) {
        let (relay, datagrams) = Relay::new(from);
        let inward = InwardKind::Userspace {
            interface: interface.clone(),
            receiver: Receiver::default(),
            relay,
        };
        (Inward(inward), Outward(OutwardKind::Userspace(datagrams)))
    }

    /// To the kernel's engine at `port`.
    pub(crate) async fn to_kernel(
        port: u16,
        from: IpAddr,
    ) -> Result<(Inward, Outward), InterfaceError> {
        let opened = async {
            let socket = UdpSocket::bind((source_of(from), 0)).await?;
            socket.connect((Ipv4Addr::LOCALHOST, port)).await?;
            // What comes before the runtime knows that would be lost.
            socket.writable().await?;
            Ok(Arc::new(socket))
        };
        let socket = opened.await.map_err(InterfaceError::Relay)?;
        let outward = OutwardKind::Kernel {
            socket: Arc::clone(&socket),
            buffer: vec![0; DATAGRAM_BYTES],
        };
        Ok((Inward(InwardKind::Kernel(socket)), Outward(outward)))
    }

    /// Takes a datagram. If it is authentic, its sender is answered by this way from now on.
    pub fn deliver(&mut self, datagram: &[u8]) {
        match &mut self.0 {
            InwardKind::Userspace {
                interface,
                receiver,
                relay,
            } => interface.deliver(receiver, datagram, relay),
            // A full socket loses it, as any network would.
            InwardKind::Kernel(socket) => drop(socket.try_send(datagram)),
        }
    }
}

impl Outward {
    /// Waits for a datagram; `None` when the interface is gone. Nothing is lost if it is cancelled.
    pub async fn recv(&mut self) -> Option<Vec<u8>> {
        match &mut self.0 {
            OutwardKind::Userspace(datagrams) => datagrams.recv().await,
            OutwardKind::Kernel { socket, buffer } => loop {
                match socket.recv(buffer).await {
                    Ok(length) => return Some(buffer[..length].to_vec()),
                    // Nobody listened when something was sent: the interface is down for a moment.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                    Err(_) => return None,
                }
            },
        }
    }

    /// One that is there already.
    pub fn try_recv(&mut self) -> Option<Vec<u8>> {
        match &mut self.0 {
            OutwardKind::Userspace(datagrams) => datagrams.try_recv().ok(),
            OutwardKind::Kernel { socket, buffer } => {
                let length = socket.try_recv(buffer).ok()?;
                Some(buffer[..length].to_vec())
            }
        }
    }
}

/// Where a relay for somebody at `from` speaks from. The kernel counts handshakes by address when there are too many, so
/// that different callers should have different ones.
fn source_of(from: IpAddr) -> Ipv4Addr {
    let bytes = match from.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        // A /64 is one caller, as the kernel counts.
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    };
    let mixed = bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let [_, _, third, last] = (mixed ^ (mixed >> 16)).to_be_bytes();
    Ipv4Addr::new(SOURCES[0], SOURCES[1], third, last.clamp(1, 254))
}

/// Whether somebody heard from there came by a relay.
pub(crate) fn is_relay(endpoint: SocketAddr) -> bool {
    matches!(endpoint.ip(), IpAddr::V4(ip) if ip.octets()[..2] == SOURCES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_sources_that_are_known_as_relays() {
        for from in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.1"] {
            let source = source_of(from.parse().unwrap());
            assert!(is_relay((source, 1).into()), "{from}: {source}");
        }
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::2"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert!(!is_relay("127.0.0.1:1".parse().unwrap()));
        assert!(!is_relay("[::1]:1".parse().unwrap()));
    }
}
