use std::io;

use crate::transport::{Udp, UdpWay};

/// The largest datagram, and so the largest batch the kernel cuts into datagrams.
const BATCH_BYTES: usize = 65_000;
/// Room behind the batch for one datagram under construction.
const DATAGRAM_BYTES: usize = 65_535 + 64;

/// Datagrams to one place that leave by one call: all of one size but for the last, which may be shorter.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    length: usize,
    segment: usize,
    count: usize,
    way: Option<UdpWay>,
    /// A shorter datagram ends a batch.
    closed: bool,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            bytes: vec![0; BATCH_BYTES + DATAGRAM_BYTES],
            length: 0,
            segment: 0,
            count: 0,
            way: None,
            closed: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the next datagram is to be written.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.length..]
    }

    /// Adds the datagram of `size` bytes that was written to [`Batch::room`]. What was there before is sent first if the
    /// new one cannot join it.
    pub(crate) async fn push(&mut self, size: usize, way: UdpWay, udp: &Udp) -> io::Result<()> {
        if !self.is_empty() && !self.takes(size, way, udp.most_segments()) {
            let start = self.length;
            let sent = self.send(udp).await;
            self.bytes.copy_within(start..start + size, 0);
            self.begin(size, way);
            return sent;
        }
        if self.is_empty() {
            self.begin(size, way);
        } else {
            self.length += size;
            self.count += 1;
            self.closed = size < self.segment;
        }
        Ok(())
    }

    fn takes(&self, size: usize, way: UdpWay, most: usize) -> bool {
        !self.closed
            && self.way == Some(way)
            && size <= self.segment
            && self.count < most
            && self.length + size <= BATCH_BYTES
    }

    fn begin(&mut self, size: usize, way: UdpWay) {
        self.length = size;
        self.segment = size;
        self.count = 1;
        self.way = Some(way);
        self.closed = false;
    }

    /// Sends what is there, waiting for room in the socket. The batch is empty afterwards, also after an error.
    pub(crate) async fn send(&mut self, udp: &Udp) -> io::Result<()> {
        let length = std::mem::take(&mut self.length);
        let Some(way) = self.way.take().filter(|_| length > 0) else {
            return Ok(());
        };
        loop {
            match udp.send(way, &self.bytes[..length], self.segment) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => udp.writable().await?,
                other => return other,
            }
        }
    }
}
