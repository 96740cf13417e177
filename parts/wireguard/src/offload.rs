//! What stands in front of packets of a TUN interface that leaves work to its reader: `struct virtio_net_hdr`.
//!
//! The kernel hands over up to 64 KiB of TCP as one packet, to be cut here, and takes as much, to be cut by whoever
//! sends it on: one call instead of fifty. Numbers from linux/virtio_net.h; all fields in the machine's byte order.

use crate::checksum::{finish, sum};
use crate::tcp::{CHECKSUM, CWR, FIN, Layout, PSH};

pub(crate) const HEADER: usize = 10;
/// The largest packet with its header.
pub(crate) const PACKET_MAX: usize = HEADER + 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const NONE: u8 = 0;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
/// An explicit congestion mark rides along.
const ECN: u8 = 0x80;

fn number(header: &[u8], at: usize) -> usize {
    u16::from_ne_bytes([header[at], header[at + 1]]).into()
}

/// Cuts what was read from the interface into packets as they go over a wire. `scratch` holds one at a time.
///
/// What cannot be cut is lost: the kernel was told what this reader can do and sends nothing else.
pub(crate) fn cut(read: &mut [u8], scratch: &mut [u8], mut each: impl FnMut(&[u8])) {
    let Some((header, packet)) = read.split_at_mut_checked(HEADER) else {
        return;
    };
    let (flags, kind) = (header[0], header[1] & !ECN);
    let (size, start, offset) = (number(header, 4), number(header, 6), number(header, 8));
    if kind == NONE {
        if flags & NEEDS_CHECKSUM != 0 {
            // The field holds the sum of the pseudo header.
            let Some(rest) = packet
                .get_mut(start..)
                .filter(|rest| rest.len() >= offset + 2)
            else {
                return;
            };
            let sum = match finish(sum(rest, 0)) {
                // UDP has no other way to say zero (RFC 768).
                [0, 0] => [0xff, 0xff],
                sum => sum,
            };
            rest[offset..offset + 2].copy_from_slice(&sum);
        }
        return each(packet);
    }
    let Some(layout) = Layout::of(packet) else {
        return;
    };
    if !matches!(kind, TCP_V4 | TCP_V6) || size == 0 {
        return;
    }
    let (sequence, flags) = (layout.sequence(packet), layout.flags(packet));
    let (head, content) = packet.split_at(layout.content);
    let id = u16::from_be_bytes([head[4], head[5]]);
    let count = content.len().div_ceil(size).max(1);
    let mut pieces = content.chunks(size);
    for index in 0..count {
        let piece = pieces.next().unwrap_or_default();
        let one = &mut scratch[..head.len() + piece.len()];
        one[..head.len()].copy_from_slice(head);
        one[head.len()..].copy_from_slice(piece);
        let passed = u32::try_from(index * size).expect("a packet is at most 65,535 bytes");
        layout.set_sequence(one, sequence.wrapping_add(passed));
        let mut own = flags;
        if index + 1 < count {
            own &= !(FIN | PSH);
        }
        if index > 0 {
            own &= !CWR;
        }
        layout.set_flags(one, own);
        if layout.is_v4 {
            let id = id.wrapping_add(u16::try_from(index).expect("few pieces"));
            one[4..6].copy_from_slice(&id.to_be_bytes());
        }
        layout.set_length(one);
        layout.set_checksum(one);
        each(one);
    }
}

/// Writes the header of a packet that is one.
pub(crate) fn single(header: &mut [u8]) {
    header[..HEADER].fill(0);
}

/// Writes the header of a packet that was joined of pieces of `size` bytes, and prepares the packet behind it.
pub(crate) fn joined(bytes: &mut [u8], layout: Layout, size: usize) {
    let (header, packet) = bytes.split_at_mut(HEADER);
    layout.set_length(packet);
    let at = layout.tcp + CHECKSUM;
    let sum = u16::try_from(layout.pseudo_header(packet)).expect("folded to 16 bits");
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    header[0] = NEEDS_CHECKSUM;
    header[1] = if layout.is_v4 { TCP_V4 } else { TCP_V6 };
    let numbers = [layout.content, size, layout.tcp, CHECKSUM];
    for (field, number) in header[2..].chunks_mut(2).zip(numbers) {
        let number = u16::try_from(number).expect("a packet is at most 65,535 bytes");
        field.copy_from_slice(&number.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
