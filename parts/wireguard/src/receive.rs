//! From the peers to the interface.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, TunnResult};
use mayfly_types::PeerKey;
use quinn_udp::RecvMeta;

use crate::error::InterfaceError;
use crate::join::Joiner;
use crate::peer::Peer;
use crate::table::Table;
use crate::transport::{UdpWay, Way};
use crate::userspace::Inner;

/// Receives per call; each takes up to 64 datagrams that the kernel put together.
const BUFFERS: usize = 4;
/// The most the kernel puts together.
const BUFFER_BYTES: usize = 65_535;

/// The scratch space of one receiving task.
#[derive(Debug)]
pub(crate) struct Receiver {
    scratch: Vec<u8>,
    joiner: Joiner,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            scratch: vec![0; BUFFER_BYTES],
            joiner: Joiner::default(),
        }
    }
}

impl Inner {
    pub(crate) async fn receive_datagrams(&self) -> Result<(), InterfaceError> {
        let failed = |source| InterfaceError::Receive {
            address: self.udp.address(),
            source,
        };
        let mut receiver = Receiver::default();
        let mut space = vec![0; BUFFERS * BUFFER_BYTES];
        let mut buffers: Vec<IoSliceMut<'_>> = space
            .chunks_mut(BUFFER_BYTES)
            .map(IoSliceMut::new)
            .collect();
        let mut found = [RecvMeta::default(); BUFFERS];
        loop {
            let count = self
                .udp
                .receive(&mut buffers, &mut found)
                .await
                .map_err(failed)?;
            let table = self.table();
            for (buffer, meta) in buffers.iter().zip(&found[..count]) {
                let way = Way::Udp(UdpWay {
                    peer: meta.addr,
                    own: meta.dst_ip,
                });
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    receiver.take(self, &table, datagram, &way);
                }
            }
            receiver.flush(self);
            tokio::task::yield_now().await;
        }
    }

    fn peer_of(&self, table: &Table, packet: &Packet<'_>) -> Option<Arc<Peer>> {
        match packet {
            Packet::HandshakeInit(init) => {
                let half = parse_handshake_anon(&self.secret, &self.public, init).ok()?;
                let key = PeerKey::from_bytes(half.peer_static_public);
                table.by_key.get(&key).cloned()
            }
            Packet::HandshakeResponse(response) => table.of_index(response.receiver_idx).cloned(),
            Packet::PacketCookieReply(reply) => table.of_index(reply.receiver_idx).cloned(),
            Packet::PacketData(data) => table.of_index(data.receiver_idx).cloned(),
        }
    }
}

impl Receiver {
    /// Handles one datagram. Its packet may be held back until [`Receiver::flush`]; what is not authentic leaves no trace.
    pub(crate) fn take(&mut self, inner: &Inner, table: &Table, datagram: &[u8], way: &Way) {
        let Receiver { scratch, joiner } = self;
        let packet = match inner
            .limiter
            .verify_packet(Some(way.ip()), datagram, scratch)
        {
            Ok(packet) => packet,
            Err(TunnResult::WriteToNetwork(cookie)) => return inner.answer(way, cookie),
            Err(_) => return,
        };
        let Some(peer) = inner.peer_of(table, &packet) else {
            return;
        };
        let mut tunnel = peer.tunnel();
        match tunnel.decapsulate(Some(way.ip()), datagram, scratch) {
            TunnResult::Err(_) => return,
            TunnResult::Done => {}
            TunnResult::WriteToNetwork(answer) => inner.send_datagram(&peer, way, answer),
            TunnResult::WriteToTunnelV4(packet, from) => {
                hand_over(inner, table, &peer, packet, from.into(), joiner);
            }
            TunnResult::WriteToTunnelV6(packet, from) => {
                hand_over(inner, table, &peer, packet, from.into(), joiner);
            }
        }
        match packet {
            // Whoever answers a handshake may send only once the other side has used the keys.
            Packet::HandshakeInit(_) => {}
            // Cookies prove nothing about where they come from.
            Packet::PacketCookieReply(_) => return,
            Packet::HandshakeResponse(_) | Packet::PacketData(_) => {
                while let TunnResult::WriteToNetwork(waiting) =
                    tunnel.decapsulate(None, &[], scratch)
                {
                    inner.send_datagram(&peer, way, waiting);
                }
            }
        }
        drop(tunnel);
        peer.heard(way, datagram.len());
    }
}

impl Receiver {
    /// Gives the kernel what was held back.
    pub(crate) fn flush(&mut self, inner: &Inner) {
        self.joiner.flush(|bytes| write(inner, bytes));
    }
}

/// Gives a packet to the kernel if its sender may use that source address.
fn hand_over(
    inner: &Inner,
    table: &Table,
    peer: &Arc<Peer>,
    packet: &[u8],
    from: IpAddr,
    joiner: &mut Joiner,
) {
    let owner = table.by_address.get(from);
    if owner.is_some_and(|owner| Arc::ptr_eq(owner, peer)) {
        joiner.push(packet, |bytes| write(inner, bytes));
    }
}

fn write(inner: &Inner, bytes: &[u8]) {
    // A full or vanished interface loses the packet, as a full queue would.
    let _ = rustix::io::write(inner.tun.get_ref().as_fd(), bytes);
}
