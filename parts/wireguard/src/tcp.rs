//! The parts of an IP packet that carries TCP, as far as cutting and joining need them.

use crate::checksum::{finish, pseudo_header, sum};

pub(crate) const PROTOCOL: u8 = 6;
/// Where the checksum stands in a TCP header.
pub(crate) const CHECKSUM: usize = 16;
pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const CWR: u8 = 0x80;
const FLAGS: usize = 13;
const SEQUENCE: usize = 4;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// Where the parts of a packet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) is_v4: bool,
    /// Where TCP begins.
    pub(crate) tcp: usize,
    /// Where the content begins.
    pub(crate) content: usize,
}

impl Layout {
    /// `None` for anything but unfragmented TCP without options of IP.
    pub(crate) fn of(packet: &[u8]) -> Option<Layout> {
        let (is_v4, tcp) = match packet.first()? >> 4 {
            4 if packet[0] == 0x45
                && packet.get(9) == Some(&PROTOCOL)
                // More fragments, or not the first.
                && packet[6] & 0x3f == 0
                && packet[7] == 0 =>
            {
                (true, V4_HEADER)
            }
            6 if packet.get(6) == Some(&PROTOCOL) => (false, V6_HEADER),
            _ => return None,
        };
        let header = usize::from(packet.get(tcp + 12)? >> 4) * 4;
        let content = tcp + header;
        (header >= 20 && packet.len() >= content).then_some(Layout {
            is_v4,
            tcp,
            content,
        })
    }

    fn addresses(self, packet: &[u8]) -> &[u8] {
        if self.is_v4 {
            &packet[12..20]
        } else {
            &packet[8..40]
        }
    }

    pub(crate) fn sequence(self, packet: &[u8]) -> u32 {
        let at = self.tcp + SEQUENCE;
        u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
    }

    pub(crate) fn set_sequence(self, packet: &mut [u8], sequence: u32) {
        let at = self.tcp + SEQUENCE;
        packet[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    }

    pub(crate) fn flags(self, packet: &[u8]) -> u8 {
        packet[self.tcp + FLAGS]
    }

    pub(crate) fn set_flags(self, packet: &mut [u8], flags: u8) {
        packet[self.tcp + FLAGS] = flags;
    }

    /// The sum of the pseudo header of this packet.
    pub(crate) fn pseudo_header(self, packet: &[u8]) -> u32 {
        pseudo_header(self.addresses(packet), PROTOCOL, packet.len() - self.tcp)
    }

    pub(crate) fn has_good_checksum(self, packet: &[u8]) -> bool {
        sum(&packet[self.tcp..], self.pseudo_header(packet)) == 0xffff
    }

    /// Writes the packet's length into its IP header and puts that header's checksum right.
    pub(crate) fn set_length(self, packet: &mut [u8]) {
        let length = packet.len();
        if self.is_v4 {
            let total = u16::try_from(length).expect("a packet is at most 65,535 bytes");
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[10..12].fill(0);
            let sum = finish(sum(&packet[..V4_HEADER], 0));
            packet[10..12].copy_from_slice(&sum);
        } else {
            let content = u16::try_from(length - V6_HEADER).expect("at most 65,535 bytes");
            packet[4..6].copy_from_slice(&content.to_be_bytes());
        }
    }

    /// Puts the checksum of TCP right.
    pub(crate) fn set_checksum(self, packet: &mut [u8]) {
        let at = self.tcp + CHECKSUM;
        packet[at..at + 2].fill(0);
        let sum = finish(sum(&packet[self.tcp..], self.pseudo_header(packet)));
        packet[at..at + 2].copy_from_slice(&sum);
    }
}
