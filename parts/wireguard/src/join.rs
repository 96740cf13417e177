use crate::offload::{HEADER, PACKET_MAX, joined, single};
use crate::tcp::{ACK, Layout, PSH};

/// Puts consecutive packets of one TCP connection together, so that the kernel takes them by one call.
///
/// It holds back what it was given until something comes that does not belong to it, or [`Joiner::flush`]; the order of
/// packets never changes.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// A header and what is held.
    bytes: Vec<u8>,
    run: Option<Run>,
}

/// What may follow.
#[derive(Clone, Copy, Debug)]
struct Run {
    layout: Layout,
    next_sequence: u32,
    /// Bytes of content in all but the last packet.
    size: usize,
    count: usize,
    closed: bool,
}

impl Default for Joiner {
    fn default() -> Self {
        Joiner {
            bytes: Vec::with_capacity(PACKET_MAX),
            run: None,
        }
    }
}

impl Joiner {
    /// Takes a packet; `write` gets what cannot grow any more, behind its header.
    pub(crate) fn push(&mut self, packet: &[u8], mut write: impl FnMut(&[u8])) {
        if self.append(packet) {
            return;
        }
        self.flush(&mut write);
        self.bytes.extend_from_slice(&[0; HEADER]);
        self.bytes.extend_from_slice(packet);
        let layout = Layout::of(packet).filter(|layout| {
            let flags = layout.flags(packet);
            flags & !PSH == ACK && packet.len() > layout.content && layout.has_good_checksum(packet)
        });
        match layout {
            None => self.flush(write),
            Some(layout) => {
                let size = packet.len() - layout.content;
                self.run = Some(Run {
                    layout,
                    next_sequence: layout.sequence(packet).wrapping_add(size as u32),
                    size,
                    count: 1,
                    closed: layout.flags(packet) & PSH != 0,
                });
            }
        }
    }

    /// Hands over what is held.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[u8])) {
        if self.bytes.is_empty() {
            return;
        }
        match self.run.take() {
            Some(run) if run.count > 1 => joined(&mut self.bytes, run.layout, run.size),
            _ => single(&mut self.bytes),
        }
        write(&self.bytes);
        self.bytes.clear();
    }

    /// Whether the packet continued what is held.
    fn append(&mut self, packet: &[u8]) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let Some(layout) = Layout::of(packet).filter(|layout| *layout == run.layout) else {
            return false;
        };
        let content = &packet[layout.content..];
        let flags = layout.flags(packet);
        let fits = !run.closed
            && !content.is_empty()
            && content.len() <= run.size
            && self.bytes.len() + content.len() <= PACKET_MAX
            && layout.sequence(packet) == run.next_sequence
            && flags & !PSH == ACK;
        let held = &self.bytes[HEADER..];
        if !fits || !same_heads(held, packet, layout) || !layout.has_good_checksum(packet) {
            return false;
        }
        run.next_sequence = run.next_sequence.wrapping_add(content.len() as u32);
        run.count += 1;
        run.closed = content.len() < run.size || flags & PSH != 0;
        let flags = layout.flags(held) | flags;
        self.bytes.extend_from_slice(content);
        layout.set_flags(&mut self.bytes[HEADER..], flags);
        true
    }
}

/// Whether the heads agree in everything but length, number, sequence, flags and checksums.
fn same_heads(one: &[u8], other: &[u8], layout: Layout) -> bool {
    let same = |range: std::ops::Range<usize>| one[range.clone()] == other[range];
    let ip = if layout.is_v4 {
        same(0..2) && same(6..10) && same(12..20)
    } else {
        same(0..4) && same(6..40)
    };
    let tcp = layout.tcp;
    // Ports; acknowledgement and header length; window; urgent pointer and options.
    ip && same(tcp..tcp + 4)
        && same(tcp + 8..tcp + 13)
        && same(tcp + 14..tcp + 16)
        && same(tcp + 18..layout.content)
}
