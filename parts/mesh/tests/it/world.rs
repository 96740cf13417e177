//! Helpers: acting inside a namespace, and a namespace that stands for the world outside.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Longer than any answer over a virtual wire takes, also on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an attempt that must fail is given; that the same way works otherwise is shown beside it.
const SILENCE: Duration = Duration::from_millis(700);

pub(crate) fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(namespace).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

pub(crate) fn connects(target: SocketAddr) -> bool {
    TcpStream::connect_timeout(&target, PATIENCE).is_ok()
}

pub(crate) fn is_shut(target: SocketAddr) -> bool {
    TcpStream::connect_timeout(&target, SILENCE).is_err()
}

/// Whether a datagram sent from `source` in one namespace arrives at `target` in the other.
pub(crate) fn receives(from: &Path, target: Ipv6Addr, to: &Path, source: Ipv6Addr) -> bool {
    datagram_within(PATIENCE, (from, source), (to, target))
}

pub(crate) fn never_receives(from: &Path, target: Ipv6Addr, to: &Path, source: Ipv6Addr) -> bool {
    !datagram_within(SILENCE, (from, source), (to, target))
}

fn datagram_within(patience: Duration, from: (&Path, Ipv6Addr), to: (&Path, Ipv6Addr)) -> bool {
    let receiver = inside(to.0, || UdpSocket::bind((to.1, 0)).unwrap());
    receiver.set_read_timeout(Some(patience)).unwrap();
    let port = receiver.local_addr().unwrap().port();
    inside(from.0, || {
        let sender = UdpSocket::bind((from.1, 0)).unwrap();
        sender.send_to(b"hello", (to.1, port)).unwrap();
    });
    match receiver.recv_from(&mut [0; 8]) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("receive: {error}"),
    }
}

pub(crate) fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {output:?}");
    text
}

pub(crate) fn ip_inside(namespace: &Path, arguments: &str) {
    shell(&format!(
        "nsenter --net={} ip {arguments}",
        namespace.display()
    ));
}

/// Interfaces that carry `text` in their alias.
pub(crate) fn links_with(text: &str) -> usize {
    shell("ip -o link")
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

/// A namespace behind the host with addresses that stand for the world's.
pub(crate) struct Internet {
    name: String,
    pub(crate) namespace: PathBuf,
    pub(crate) host_v4: Ipv4Addr,
    pub(crate) world_v4: Ipv4Addr,
    pub(crate) host_v6: Ipv6Addr,
    pub(crate) world_v6: Ipv6Addr,
}

/// A number no other test, also of a run side by side, uses at the same time.
pub(crate) fn unique() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed) % 16
}

/// An address on the host's loopback interface, until dropped.
pub(crate) struct LocalAddress(Ipv6Addr);

impl LocalAddress {
    pub(crate) fn new(address: Ipv6Addr) -> Self {
        shell(&format!("ip addr add {address}/128 dev lo nodad"));
        Self(address)
    }
}

impl Drop for LocalAddress {
    fn drop(&mut self) {
        shell(&format!("ip addr del {}/128 dev lo", self.0));
    }
}

impl Internet {
    pub(crate) fn new() -> Internet {
        // The benchmark and documentation ranges, cut into pairs by process and count so that test runs can overlap.
        let unique = unique();
        let base = Ipv4Addr::new(198, 18, 0, 0).to_bits() + unique % (1 << 15) * 4;
        let v6 = |last| {
            Ipv6Addr::new(
                0x2001,
                0xdb8,
                (unique >> 16) as u16,
                unique as u16,
                0,
                0,
                0,
                last,
            )
        };
        let internet = Internet {
            name: format!("ti{unique:x}"),
            namespace: format!("/run/netns/ti{unique:x}").into(),
            host_v4: Ipv4Addr::from_bits(base + 1),
            world_v4: Ipv4Addr::from_bits(base + 2),
            host_v6: v6(1),
            world_v6: v6(2),
        };
        let Internet {
            name,
            host_v4,
            world_v4,
            host_v6,
            world_v6,
            ..
        } = &internet;
        shell(&format!(
            "ip netns add {name} && ip link add {name} type veth peer name wan netns {name} &&
             ip addr add {host_v4}/30 dev {name} && ip addr add {host_v6}/64 dev {name} nodad && ip link set {name} up &&
             ip -n {name} addr add {world_v4}/30 dev wan && ip -n {name} addr add {world_v6}/64 dev wan nodad &&
             ip -n {name} link set wan up && ip -n {name} link set lo up"
        ));
        internet
    }

    /// A second address of the host that the world knows a way to, of each family.
    pub(crate) fn more_of_the_host(&self) -> (Ipv4Addr, Ipv6Addr) {
        let (v4, v6) = self.second();
        let name = &self.name;
        shell(&format!(
            "ip addr add {v4}/32 dev {name} && ip addr add {v6}/128 dev lo nodad &&
             ip -n {name} route add {v4}/32 dev wan && ip -n {name} route add {v6}/128 via {}",
            self.host_v6
        ));
        (v4, v6)
    }

    /// Lets the world know a way to one more address of the host.
    pub(crate) fn route(&self, address: Ipv6Addr) {
        shell(&format!(
            "ip -n {} route add {address}/128 via {}",
            self.name, self.host_v6
        ));
    }

    fn second(&self) -> (Ipv4Addr, Ipv6Addr) {
        let v4 = Ipv4Addr::from_bits(self.host_v4.to_bits() - 1);
        (v4, Ipv6Addr::from_bits(self.host_v6.to_bits() + 0x10))
    }

    /// Lets the world know a way to a machine's addresses, so that only the firewall keeps it out.
    pub(crate) fn route_back(&self, v6: &str, v4: &str) {
        let Internet {
            name,
            host_v4,
            host_v6,
            ..
        } = self;
        shell(&format!(
            "ip -n {name} route add {v6}/128 via {host_v6} && ip -n {name} route add {v4}/32 via {host_v4}"
        ));
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let (_, v6) = self.second();
        shell(&format!(
            "ip link del {0}; ip addr del {v6}/128 dev lo 2>/dev/null; ip netns del {0}",
            self.name
        ));
    }
}
