//! From the interface to the peers.

use std::io;
use std::os::fd::AsFd;

use boringtun::noise::{Tunn, TunnResult};
use tracing::debug;

use crate::batch::Batch;
use crate::error::InterfaceError;
use crate::offload::{PACKET_MAX, cut};
use crate::peer::Peer;
use crate::table::Table;
use crate::transport::Way;
use crate::userspace::Inner;

/// Reads before other tasks get their turn; one may hold as much as 64 KiB.
const TURN: usize = 32;

impl Inner {
    pub(crate) async fn send_packets(&self) -> Result<(), InterfaceError> {
        let failed = |source| InterfaceError::Read {
            name: self.name.clone(),
            source,
        };
        let mut batch = Batch::new();
        let mut read = vec![0; PACKET_MAX];
        let mut pieces = Pieces::default();
        loop {
            let mut ready = self.tun.readable().await.map_err(failed)?;
            let table = self.table();
            for _ in 0..TURN {
                match ready.try_io(|tun| Ok(rustix::io::read(tun.as_fd(), &mut read)?)) {
                    Ok(Ok(length)) => {
                        pieces.cut(&mut read[..length]);
                        for packet in pieces.iter() {
                            self.send_packet(&table, packet, &mut batch).await;
                        }
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Err(failed(error)),
                    Err(_would_block) => break,
                }
            }
            drop(ready);
            log_lost(batch.send(&self.udp).await);
            tokio::task::yield_now().await;
        }
    }

    async fn send_packet(&self, table: &Table, packet: &[u8], batch: &mut Batch) {
        let Some(peer) = Tunn::dst_address(packet).and_then(|to| table.by_address.get(to)) else {
            return;
        };
        let Some(way) = peer.way() else {
            return;
        };
        let size = match peer.tunnel().encapsulate(packet, batch.room()) {
            TunnResult::WriteToNetwork(datagram) => datagram.len(),
            // Waits for the handshake that is under way.
            _ => return,
        };
        peer.sent(size);
        match way {
            Way::Udp(way) => log_lost(batch.push(size, way, &self.udp).await),
            Way::Relay(relay) => {
                relay.carry(&batch.room()[..size]);
            }
        }
    }

    /// Sends one datagram now. A full socket or a way that leads nowhere loses it, as the network may.
    pub(crate) fn send_datagram(&self, peer: &Peer, way: &Way, datagram: &[u8]) {
        peer.sent(datagram.len());
        self.answer(way, datagram);
    }

    /// Sends one datagram to somebody who need not be a peer.
    pub(crate) fn answer(&self, way: &Way, datagram: &[u8]) {
        match way {
            Way::Udp(way) => log_lost(self.udp.send(*way, datagram, datagram.len())),
            Way::Relay(relay) => {
                relay.carry(datagram);
            }
        }
    }
}

/// The packets of one read, back to back.
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    scratch: Vec<u8>,
}

impl Default for Pieces {
    fn default() -> Self {
        Pieces {
            bytes: Vec::with_capacity(2 * PACKET_MAX),
            ends: Vec::with_capacity(64),
            scratch: vec![0; PACKET_MAX],
        }
    }
}

impl Pieces {
    fn cut(&mut self, read: &mut [u8]) {
        let Pieces {
            bytes,
            ends,
            scratch,
        } = self;
        bytes.clear();
        ends.clear();
        cut(read, scratch, |packet| {
            bytes.extend_from_slice(packet);
            ends.push(bytes.len());
        });
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        ranges.map(|(start, end)| &self.bytes[start..end])
    }
}

fn log_lost(sent: io::Result<()>) {
    if let Err(error) = sent {
        debug!(error = %error, "datagrams to a peer were lost");
    }
}
