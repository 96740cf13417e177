use mayfly_netlink::attributes;
use mayfly_types::{IpRange, PeerKey, Timestamp};

use super::*;

const FAMILY: u16 = 0x1f;
const HEADERS: usize = 16 + GENERIC_HEADER;

fn key(number: u8) -> PeerKey {
    PeerKey::from_bytes([number; 32])
}

fn whole(number: u8) -> PeerChange {
    PeerChange {
        preshared_key: Some([9; 32]),
        endpoint: Some("192.0.2.7:51820".parse().unwrap()),
        keepalive_seconds: Some(15),
        replaces_ranges: true,
        only_if_present: false,
        allowed_ips: vec!["fdaa:0:1::/120".parse().unwrap()],
        public_key: key(number),
    }
}

/// Numbers are those of a machine whose bytes are in little order, as the ones written down here are.
#[cfg(target_endian = "little")]
#[test]
fn a_peer_is_laid_out_as_the_kernel_reads_it() {
    let [message] = &messages(FAMILY, 7, &[Change::Set(whole(1))])[..] else {
        panic!("one message");
    };
    let mut expected: Vec<u8> = Vec::new();
    // struct nlmsghdr: length, type, NLM_F_REQUEST | NLM_F_ACK, sequence, port.
    expected.extend([188, 0, 0, 0, 0x1f, 0, 5, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    // struct genlmsghdr: WG_CMD_SET_DEVICE, version 1.
    expected.extend([1, 1, 0, 0]);
    // WGDEVICE_A_IFINDEX.
    expected.extend([8, 0, 1, 0, 7, 0, 0, 0]);
    // WGDEVICE_A_PEERS, nested; its one element.
    expected.extend([160, 0, 8, 0x80, 156, 0, 0, 0x80]);
    // WGPEER_A_PUBLIC_KEY.
    expected.extend([36, 0, 1, 0]);
    expected.extend([1; 32]);
    // WGPEER_A_FLAGS: WGPEER_F_REPLACE_ALLOWEDIPS.
    expected.extend([8, 0, 3, 0, 2, 0, 0, 0]);
    // WGPEER_A_PRESHARED_KEY.
    expected.extend([36, 0, 2, 0]);
    expected.extend([9; 32]);
    // WGPEER_A_ENDPOINT: struct sockaddr_in.
    expected.extend([20, 0, 4, 0, 2, 0, 0xca, 0x6c, 192, 0, 2, 7]);
    expected.extend([0; 8]);
    // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, padded.
    expected.extend([6, 0, 5, 0, 15, 0, 0, 0]);
    // WGPEER_A_ALLOWEDIPS, nested; its one element: family, address, prefix.
    expected.extend([44, 0, 9, 0x80, 40, 0, 0, 0x80]);
    expected.extend([6, 0, 1, 0, 10, 0, 0, 0]);
    expected.extend([20, 0, 2, 0, 0xfd, 0xaa, 0, 0, 0, 1]);
    expected.extend([0; 10]);
    expected.extend([5, 0, 3, 0, 120, 0, 0, 0]);
    assert_eq!(message.clone().finish(3), expected);
}

#[test]
fn what_is_written_is_read() {
    let written = [
        whole(1),
        PeerChange {
            endpoint: Some("[2001:db8::7]:9".parse().unwrap()),
            ..whole(2)
        },
    ];
    let changes = written.clone().map(Change::Set);
    let mut device = Device::default();
    for message in messages(FAMILY, 7, &changes) {
        device.take(&message.finish(1)[HEADERS..]);
    }
    assert_eq!(device.peers.len(), 2);
    for (peer, wanted) in device.peers.iter().zip(&written) {
        assert_eq!(peer.public_key, wanted.public_key);
        assert_eq!(Some(peer.preshared_key), wanted.preshared_key);
        assert_eq!(peer.endpoint, wanted.endpoint);
        assert_eq!(Some(peer.keepalive_seconds), wanted.keepalive_seconds);
        assert_eq!(peer.allowed_ips, wanted.allowed_ips);
        assert_eq!(peer.handshake_age(Timestamp::from_millis(5)), None);
    }
}

#[test]
fn many_peers_and_many_ranges_go_in_messages_that_fit() {
    let ranges: Vec<IpRange> = (0..3000_u32)
        .map(|number| format!("fdaa:0:{number:x}::/80").parse().unwrap())
        .collect();
    let big = PeerChange {
        allowed_ips: ranges.clone(),
        ..whole(1)
    };
    let mut changes = vec![Change::Remove(key(200)), Change::Set(big)];
    changes.extend((2..150).map(|number| Change::Set(whole(number))));
    let all = messages(FAMILY, 7, &changes);
    assert!(all.len() > 7);
    let mut device = Device::default();
    let mut replacing = 0;
    for message in all {
        let bytes = message.finish(1);
        assert!(bytes.len() <= MESSAGE_BYTES + 256, "{}", bytes.len());
        let peers = attributes(&bytes[HEADERS..]).find(|(kind, _)| *kind == DEVICE_PEERS);
        for (_, peer) in attributes(peers.unwrap().1) {
            let flags = attributes(peer).find(|(kind, _)| *kind == PEER_FLAGS);
            let flags = u32::from_ne_bytes(flags.unwrap().1.try_into().unwrap());
            let of_big = attributes(peer).any(|(_, value)| value == [1; 32]);
            replacing += u32::from(of_big && flags & REPLACE_ALLOWED_IPS != 0);
            assert_eq!(
                flags & UPDATE_ONLY != 0,
                of_big && flags & REPLACE_ALLOWED_IPS == 0,
                "a piece adds to what is there"
            );
        }
        device.take(&bytes[HEADERS..]);
    }
    assert_eq!(replacing, 1, "later pieces keep the earlier ones' ranges");
    assert_eq!(device.peers.len(), 150);
    assert_eq!(device.peers[1].allowed_ips, ranges);
}

#[test]
fn a_broken_answer_is_no_peer() {
    let [message] = &messages(FAMILY, 7, &[Change::Set(whole(1))])[..] else {
        panic!("one message");
    };
    let bytes = message.clone().finish(1);
    for length in HEADERS..bytes.len() {
        Device::default().take(&bytes[HEADERS..length]);
    }
}
