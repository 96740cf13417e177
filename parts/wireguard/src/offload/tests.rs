use super::*;
use crate::join::Joiner;

/// A packet of TCP with this content and a good checksum.
fn packet(is_v4: bool, sequence: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = if is_v4 {
        let mut head = vec![0; 20];
        head[0] = 0x45;
        head[8] = 64;
        head[9] = 6;
        head[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        head
    } else {
        let mut head = vec![0; 40];
        head[0] = 0x60;
        head[6] = 6;
        head[7] = 64;
        head[8..24].fill(0xfd);
        head[24..40].fill(0xfe);
        head
    };
    let tcp = packet.len();
    packet.extend([0; 32]);
    packet[tcp..tcp + 4].copy_from_slice(&[0x1f, 0x90, 0x00, 0x50]);
    packet[tcp + 12] = 8 << 4;
    packet[tcp + 20..tcp + 32].copy_from_slice(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    packet.extend_from_slice(content);
    let layout = Layout::of(&packet).unwrap();
    layout.set_sequence(&mut packet, sequence);
    layout.set_flags(&mut packet, flags);
    layout.set_length(&mut packet);
    layout.set_checksum(&mut packet);
    packet
}

fn join(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut written = Vec::new();
    let mut joiner = Joiner::default();
    for packet in packets {
        joiner.push(packet, |bytes| written.push(bytes.to_vec()));
    }
    joiner.flush(|bytes| written.push(bytes.to_vec()));
    written
}

fn cut_all(written: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut scratch, mut found) = (vec![0; PACKET_MAX], Vec::new());
    for bytes in written {
        cut(&mut bytes.clone(), &mut scratch, |packet| {
            found.push(packet.to_vec());
        });
    }
    found
}

#[test]
fn what_was_joined_is_cut_into_the_same_packets() {
    for is_v4 in [true, false] {
        let content: Vec<u8> = (0..5_500_u32).map(|at| at as u8).collect();
        let mut sequence = u32::MAX - 2_000;
        let mut packets = Vec::new();
        let pieces: Vec<&[u8]> = content.chunks(1_000).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let last = index + 1 == pieces.len();
            let flags = if last {
                crate::tcp::ACK | PSH
            } else {
                crate::tcp::ACK
            };
            let mut one = packet(is_v4, sequence, flags, piece);
            if is_v4 {
                one[4..6].copy_from_slice(&(index as u16).to_be_bytes());
                Layout::of(&one).unwrap().set_length(&mut one);
            }
            packets.push(one);
            sequence = sequence.wrapping_add(piece.len() as u32);
        }
        let written = join(&packets);
        assert_eq!(written.len(), 1, "one call");
        assert_eq!(cut_all(&written), packets);
        for packet in &packets {
            assert!(Layout::of(packet).unwrap().has_good_checksum(packet));
        }
    }
}

#[test]
fn only_what_belongs_together_is_joined() {
    let ack = crate::tcp::ACK;
    let first = packet(false, 0, ack, &[1; 100]);
    let mut other_port = packet(false, 100, ack, &[2; 100]);
    other_port[41] ^= 1;
    Layout::of(&other_port)
        .unwrap()
        .set_checksum(&mut other_port);
    let mut damaged = packet(false, 100, ack, &[2; 100]);
    *damaged.last_mut().unwrap() ^= 1;
    let udp = [&[0x60, 0, 0, 0, 0, 8, 17, 64][..], &[0; 40]].concat();
    for second in [
        packet(false, 200, ack, &[2; 100]),
        packet(false, 100, ack, &[2; 101]),
        packet(false, 100, ack | FIN, &[2; 100]),
        packet(false, 100, ack, &[]),
        packet(true, 100, ack, &[2; 100]),
        other_port,
        damaged,
        udp,
    ] {
        let packets = [first.clone(), second];
        let written = join(&packets);
        assert_eq!(written.len(), 2);
        assert_eq!(cut_all(&written), packets);
    }
    // Behind a push nothing is joined.
    let packets = [
        packet(false, 0, ack | PSH, &[1; 100]),
        packet(false, 100, ack, &[2; 100]),
    ];
    assert_eq!(join(&packets).len(), 2);
}

#[test]
fn checksums_left_to_us_are_made() {
    let good = packet(true, 5, crate::tcp::ACK, b"content");
    let layout = Layout::of(&good).unwrap();
    let mut bytes = vec![0; HEADER];
    bytes[0] = NEEDS_CHECKSUM;
    bytes[6..8].copy_from_slice(&20_u16.to_ne_bytes());
    bytes[8..10].copy_from_slice(&16_u16.to_ne_bytes());
    bytes.extend_from_slice(&good);
    let sum = u16::try_from(layout.pseudo_header(&good)).unwrap();
    bytes[HEADER + 36..HEADER + 38].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(cut_all(&[bytes]), [good]);
    // Nonsense is nothing.
    let nonsense = [vec![], vec![0; 5], vec![1, 4, 0, 0, 9, 9, 9, 9, 9, 9, 1]];
    assert!(cut_all(&nonsense).is_empty());
}
