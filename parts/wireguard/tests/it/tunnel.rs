//! Our engine at both ends.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use mayfly_runtime::TaskSet;
use mayfly_wireguard::{Interface, PresharedKey};

use crate::world::{PATIENCE, SILENCE, Wire, peer, ranges, run, wait_until};

const LEFT: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 1);
const RIGHT: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 2);
const NETWORK: &str = "fdaa:0:1::/48";

/// A tunnel between both ends of a wire, of which only the left knows where the other is.
struct Tunnel {
    wire: Wire,
    left: Interface,
    right: Interface,
    tasks: TaskSet,
}

impl Tunnel {
    async fn new() -> Tunnel {
        let wire = Wire::new();
        let left = wire.left.open("wgl", LEFT, &[NETWORK]);
        let right = wire.right.open("wgr", RIGHT, &[NETWORK]);
        let tunnel = Tunnel {
            wire,
            left,
            right,
            tasks: TaskSet::new(),
        };
        tunnel.introduce();
        run(&tunnel.tasks, &tunnel.left).await;
        run(&tunnel.tasks, &tunnel.right).await;
        tunnel
    }

    fn introduce(&self) {
        let endpoint = self.wire.right.endpoint(&self.right);
        self.left
            .set_peers(&[peer(&self.right, Some(endpoint), &["fdaa:0:1::2/128"])]);
        self.right
            .set_peers(&[peer(&self.left, None, &["fdaa:0:1::1/128"])]);
    }

    fn carries(&self, patience: Duration) -> bool {
        let listener = self.wire.right.listener(RIGHT);
        self.wire.left.reaches(LEFT, &listener, patience)
    }

    fn carries_back(&self) -> bool {
        let listener = self.wire.left.listener(LEFT);
        self.wire.right.reaches(RIGHT, &listener, PATIENCE)
    }

    async fn end(self) {
        assert!(self.tasks.shut_down(PATIENCE).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_carry_and_are_counted() {
    let tunnel = Tunnel::new().await;
    assert!(tunnel.carries(PATIENCE));
    assert!(tunnel.carries_back(), "the caller's place was learnt");
    let [status] = &tunnel.right.status()[..] else {
        panic!("one peer");
    };
    assert_eq!(status.public_key, tunnel.left.public_key());
    let place = tunnel.wire.left.endpoint(&tunnel.left);
    assert_eq!(status.endpoint, Some(place));
    assert!(status.last_handshake.unwrap() < PATIENCE);
    assert!(status.rx_bytes > 148 && status.tx_bytes > 92);
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_whole() {
    let tunnel = Tunnel::new().await;
    let listener = tunnel
        .wire
        .right
        .inside(|| std::net::TcpListener::bind((RIGHT, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    const BYTES: usize = 32 << 20;
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut bytes).unwrap();
        bytes
    });
    let sent: Vec<u8> = (0..BYTES).map(|at| ((at * 7) >> 3) as u8).collect();
    let mut stream = tunnel
        .wire
        .left
        .inside(|| std::net::TcpStream::connect(target).unwrap());
    std::io::Write::write_all(&mut stream, &sent).unwrap();
    drop(stream);
    assert!(received.join().unwrap() == sent, "every byte in its place");
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_peers_keep_their_sessions_and_removed_ones_lose_access_at_once() {
    let tunnel = Tunnel::new().await;
    assert!(tunnel.carries(PATIENCE));
    let before = tunnel.right.status()[0].rx_bytes;
    tunnel.introduce();
    assert_eq!(tunnel.right.status()[0].rx_bytes, before);
    assert!(tunnel.right.status()[0].last_handshake.is_some());
    assert!(tunnel.carries(SILENCE), "without another handshake");

    tunnel.right.set_peers(&[]);
    assert!(!tunnel.carries(SILENCE));
    assert_eq!(tunnel.right.status(), []);
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_speaks_only_as_its_own_addresses() {
    let tunnel = Tunnel::new().await;
    assert!(tunnel.carries(PATIENCE));
    let other = Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 9);
    tunnel
        .wire
        .left
        .shell(&format!("ip addr add {other}/128 dev wgl nodad"));
    let listener = tunnel.wire.right.listener(RIGHT);
    assert!(!tunnel.wire.left.reaches(other, &listener, SILENCE));
    let mut wider = peer(&tunnel.left, None, &["fdaa:0:1::1/128"]);
    wider.allowed_ips.extend(ranges(&["fdaa:0:1::9/128"]));
    tunnel.right.set_peers(&[wider]);
    assert!(tunnel.wire.left.reaches(other, &listener, PATIENCE));
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_moves_is_answered_at_its_new_place() {
    let tunnel = Tunnel::new().await;
    assert!(tunnel.carries(PATIENCE));
    tunnel
        .wire
        .left
        .shell("ip addr del 192.0.2.1/24 dev wire && ip addr add 192.0.2.77/24 dev wire");
    assert!(tunnel.carries(PATIENCE));
    let moved = SocketAddr::new([192, 0, 2, 77].into(), tunnel.left.address().port());
    assert_eq!(tunnel.right.status()[0].endpoint, Some(moved));
    assert!(tunnel.carries_back());
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preshared_key_must_be_the_same() {
    let tunnel = Tunnel::new().await;
    let endpoint = tunnel.wire.right.endpoint(&tunnel.right);
    let mut right = peer(&tunnel.right, Some(endpoint), &["fdaa:0:1::2/128"]);
    right.preshared_key = Some(PresharedKey::from_bytes([7; 32]));
    tunnel.left.set_peers(&[right]);
    assert!(!tunnel.carries(SILENCE));
    let mut left = peer(&tunnel.left, None, &["fdaa:0:1::1/128"]);
    left.preshared_key = Some(PresharedKey::from_bytes([7; 32]));
    tunnel.right.set_peers(&[left]);
    assert!(tunnel.carries(PATIENCE));
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keepalive_brings_up_a_silent_tunnel() {
    let tunnel = Tunnel::new().await;
    let endpoint = tunnel.wire.right.endpoint(&tunnel.right);
    let mut right = peer(&tunnel.right, Some(endpoint), &["fdaa:0:1::2/128"]);
    right.keepalive = Some(Duration::from_secs(1));
    tunnel.left.set_peers(&[right]);
    wait_until("a handshake without traffic", || {
        tunnel.right.status()[0].last_handshake.is_some()
    });
    let before = tunnel.right.status()[0].rx_bytes;
    wait_until("keepalives", || tunnel.right.status()[0].rx_bytes > before);
    tunnel.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_floods_of_handshakes_leave_tunnels_alone() {
    let tunnel = Tunnel::new().await;
    assert!(tunnel.carries(PATIENCE));
    let target = tunnel.wire.right.endpoint(&tunnel.right);
    let stranger = tunnel
        .wire
        .left
        .inside(|| UdpSocket::bind(("192.0.2.1", 0)).unwrap());
    let mut handshake = [0x55; 148];
    handshake[..4].copy_from_slice(&[1, 0, 0, 0]);
    let mut data = [0xaa; 1400];
    data[..4].copy_from_slice(&[4, 0, 0, 0]);
    data[4..8].copy_from_slice(&[1, 0, 0, 0]);
    for turn in 0..20_000_u32 {
        data[8..12].copy_from_slice(&turn.to_le_bytes());
        let (garbage, message) = (
            turn.to_le_bytes(),
            if turn % 2 == 0 { &handshake[..] } else { &data },
        );
        let _ = stranger.send_to(&garbage, target);
        let _ = stranger.send_to(message, target);
        let _ = stranger.send_to(&[], target);
    }
    assert!(tunnel.carries(PATIENCE));
    let place = tunnel.wire.left.endpoint(&tunnel.left);
    assert_eq!(tunnel.right.status()[0].endpoint, Some(place));
    tunnel.end().await;
}
