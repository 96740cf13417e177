//! Our own at both ends: this process's always, the kernel's where there is one.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use mayfly_runtime::TaskSet;
use mayfly_wireguard::{Engine, Interface, PresharedKey, PrivateKey};

use crate::world::{PATIENCE, SILENCE, Wire, peer, ranges, run, wait_until};

const LEFT: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 1);
const RIGHT: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 2);
const NETWORK: &str = "fdaa:0:1::/48";

/// Every behaviour, once over each engine.
macro_rules! of_both {
    ($($behaviour:ident),+ $(,)?) => {
        mod userspace {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $behaviour() {
                    super::$behaviour(super::Engine::Userspace).await;
                }
            )+
        }

        mod kernel {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $behaviour() {
                    if crate::world::has(super::Engine::Kernel) {
                        super::$behaviour(super::Engine::Kernel).await;
                    }
                }
            )+
        }
    };
}

of_both!(
    both_directions_carry_and_are_counted,
    a_stream_passes_whole,
    unchanged_peers_keep_their_sessions_and_removed_ones_lose_access_at_once,
    a_peer_speaks_only_as_its_own_addresses,
    a_peer_that_moves_is_answered_at_its_new_place,
    a_preshared_key_must_be_the_same,
    a_keepalive_brings_up_a_silent_tunnel,
    garbage_and_floods_of_handshakes_leave_tunnels_alone,
    a_relay_carries_what_udp_would,
    one_address_is_listened_at_and_no_other,
);

/// A tunnel between both ends of a wire, of which only the left knows where the other is.
struct Tunnel {
    wire: Wire,
    left: Interface,
    right: Interface,
    tasks: TaskSet,
}

impl Tunnel {
    async fn new(engine: Engine) -> Tunnel {
        let wire = Wire::new();
        let left = wire.left.open(engine, "wgl", LEFT, &[NETWORK]);
        let right = wire.right.open(engine, "wgr", RIGHT, &[NETWORK]);
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
            .set_peers(&[peer(&self.right, Some(endpoint), &["fdaa:0:1::2/128"])])
            .unwrap();
        self.right
            .set_peers(&[peer(&self.left, None, &["fdaa:0:1::1/128"])])
            .unwrap();
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

async fn both_directions_carry_and_are_counted(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
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

async fn a_stream_passes_whole(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
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

async fn unchanged_peers_keep_their_sessions_and_removed_ones_lose_access_at_once(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
    assert!(tunnel.carries(PATIENCE));
    let before = tunnel.right.status()[0].rx_bytes;
    tunnel.introduce();
    assert_eq!(tunnel.right.status()[0].rx_bytes, before);
    assert!(tunnel.right.status()[0].last_handshake.is_some());
    assert!(tunnel.carries(SILENCE), "without another handshake");

    tunnel.right.set_peers(&[]).unwrap();
    assert!(!tunnel.carries(SILENCE));
    assert_eq!(tunnel.right.status(), []);
    tunnel.end().await;
}

async fn a_peer_speaks_only_as_its_own_addresses(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
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
    tunnel.right.set_peers(&[wider]).unwrap();
    assert!(tunnel.wire.left.reaches(other, &listener, PATIENCE));
    tunnel.end().await;
}

async fn a_peer_that_moves_is_answered_at_its_new_place(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
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

async fn a_preshared_key_must_be_the_same(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
    let endpoint = tunnel.wire.right.endpoint(&tunnel.right);
    let mut right = peer(&tunnel.right, Some(endpoint), &["fdaa:0:1::2/128"]);
    right.preshared_key = Some(PresharedKey::from_bytes([7; 32]));
    tunnel.left.set_peers(&[right]).unwrap();
    assert!(!tunnel.carries(SILENCE));
    let mut left = peer(&tunnel.left, None, &["fdaa:0:1::1/128"]);
    left.preshared_key = Some(PresharedKey::from_bytes([7; 32]));
    tunnel.right.set_peers(&[left]).unwrap();
    assert!(tunnel.carries(PATIENCE));
    tunnel.end().await;
}

async fn a_keepalive_brings_up_a_silent_tunnel(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
    let endpoint = tunnel.wire.right.endpoint(&tunnel.right);
    let mut right = peer(&tunnel.right, Some(endpoint), &["fdaa:0:1::2/128"]);
    right.keepalive = Some(Duration::from_secs(1));
    tunnel.left.set_peers(&[right]).unwrap();
    wait_until("a handshake without traffic", || {
        tunnel.right.status()[0].last_handshake.is_some()
    });
    let before = tunnel.right.status()[0].rx_bytes;
    wait_until("keepalives", || tunnel.right.status()[0].rx_bytes > before);
    tunnel.end().await;
}

async fn garbage_and_floods_of_handshakes_leave_tunnels_alone(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
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

async fn a_relay_carries_what_udp_would(engine: Engine) {
    let tunnel = Tunnel::new(engine).await;
    let port = tunnel.right.address().port();
    // The left speaks to a socket beside it; what comes there is carried to the right's relay and back.
    let beside = tunnel
        .wire
        .left
        .inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let endpoint = beside.local_addr().unwrap();
    let mut right = peer(&tunnel.right, Some(endpoint), &["fdaa:0:1::2/128"]);
    right.keepalive = Some(Duration::from_secs(1));
    beside.set_nonblocking(true).unwrap();
    let beside = tokio::net::UdpSocket::from_std(beside).unwrap();
    let caller = "198.51.100.7".parse().unwrap();
    let (mut inward, mut outward) = tunnel.wire.right.relay(&tunnel.right, caller);
    assert_ne!(port, 0);
    let carrier = TaskSet::new();
    let left_port = tunnel.left.address().port();
    carrier
        .spawn("carrier", move |stop| async move {
            let mut buffer = [0; 2048];
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    got = beside.recv_from(&mut buffer) => inward.deliver(&buffer[..got.unwrap().0]),
                    Some(datagram) = outward.recv() => {
                        beside.send_to(&datagram, ("127.0.0.1", left_port)).await.unwrap();
                    }
                }
            }
        })
        .await;
    tunnel.left.set_peers(&[right]).unwrap();
    assert!(tunnel.carries(PATIENCE));
    assert!(tunnel.carries_back());
    let [status] = &tunnel.right.status()[..] else {
        panic!("one peer");
    };
    assert!(status.last_handshake.is_some());
    assert_eq!(status.endpoint, None, "it has no address");
    assert!(carrier.shut_down(PATIENCE).await);
    tunnel.end().await;
}

async fn one_address_is_listened_at_and_no_other(engine: Engine) {
    let wire = Wire::new();
    wire.right.shell("ip addr add 192.0.2.3/24 dev wire");
    let left = wire.left.open(engine, "wgl", LEFT, &[NETWORK]);
    let listen = SocketAddr::new(wire.right.ip.into(), 0);
    let key = PrivateKey::generate();
    let right = wire
        .right
        .open_as(engine, "wgr", key, listen, RIGHT, &[NETWORK]);
    assert_eq!(right.address().ip(), wire.right.ip);
    let tasks = TaskSet::new();
    run(&tasks, &left).await;
    run(&tasks, &right).await;
    right
        .set_peers(&[peer(&left, None, &["fdaa:0:1::1/128"])])
        .unwrap();
    let listener = wire.right.listener(RIGHT);
    let port = right.address().port();
    let other = SocketAddr::new([192, 0, 2, 3].into(), port);
    left.set_peers(&[peer(&right, Some(other), &["fdaa:0:1::2/128"])])
        .unwrap();
    assert!(!wire.left.reaches(LEFT, &listener, SILENCE));
    let wanted = SocketAddr::new(wire.right.ip.into(), port);
    left.set_peers(&[peer(&right, Some(wanted), &["fdaa:0:1::2/128"])])
        .unwrap();
    assert!(wire.left.reaches(LEFT, &listener, PATIENCE));
    assert!(tasks.shut_down(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_the_kernel_is_taken_over_with_its_sessions() {
    if !crate::world::has(Engine::Kernel) {
        return;
    }
    let wire = Wire::new();
    let left = wire.left.open(Engine::Kernel, "wgl", LEFT, &[NETWORK]);
    let key = PrivateKey::generate();
    let listen = SocketAddr::new(wire.right.ip.into(), 51820);
    let open = || {
        wire.right.open_as(
            Engine::Kernel,
            "wgr",
            key.clone(),
            listen,
            RIGHT,
            &[NETWORK],
        )
    };
    let peers = [peer(&left, None, &["fdaa:0:1::1/128"])];
    let right = open();
    right.set_peers(&peers).unwrap();
    left.set_peers(&[peer(&right, Some(listen), &["fdaa:0:1::2/128"])])
        .unwrap();
    let listener = wire.right.listener(RIGHT);
    assert!(wire.left.reaches(LEFT, &listener, PATIENCE));
    let before = right.status();
    drop(right);
    assert!(
        wire.left.reaches(LEFT, &listener, SILENCE),
        "nobody is needed"
    );
    let right = open();
    right.set_peers(&peers).unwrap();
    let after = right.status();
    assert!(after[0].rx_bytes > before[0].rx_bytes);
    assert_eq!(after[0].endpoint, before[0].endpoint);
    assert!(
        after[0].last_handshake >= before[0].last_handshake,
        "the same keys"
    );
    assert!(wire.left.reaches(LEFT, &listener, SILENCE));

    // Whoever wants it in this process takes the kernel's away.
    drop(right);
    let right = wire.right.open_as(
        Engine::Userspace,
        "wgr",
        key.clone(),
        listen,
        RIGHT,
        &[NETWORK],
    );
    assert_eq!(right.engine(), Engine::Userspace);
    assert!(!wire.right.shell("nft list tables").contains("wgr"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_peers_with_many_ranges_are_told_whole() {
    if !crate::world::has(Engine::Kernel) {
        return;
    }
    let wire = Wire::new();
    let right = wire.right.open(Engine::Kernel, "wgr", RIGHT, &[NETWORK]);
    let mut peers: Vec<_> = (0..300)
        .map(|number| {
            let range = format!("fdaa:0:1:{number:x}::/80");
            let mut peer = peer(&right, None, &[&range]);
            peer.public_key = PrivateKey::generate().public();
            peer
        })
        .collect();
    peers[7].allowed_ips = (0..3000)
        .map(|number| format!("fdaa:1:{number:x}::/80").parse().unwrap())
        .collect();
    right.set_peers(&peers).unwrap();
    let count = || {
        wire.right
            .shell("wg show wgr allowed-ips | tr \" \" \"\\n\" | grep -c fdaa")
    };
    if wire.right.shell("command -v wg || true").is_empty() {
        assert_eq!(right.status().len(), 300);
    } else {
        assert_eq!(count().trim(), "3299");
    }
    right.set_peers(&peers[7..8]).unwrap();
    assert_eq!(right.status().len(), 1);
    right.set_peers(&[]).unwrap();
    assert_eq!(right.status(), []);
}
