//! Two namespaces joined by a wire, and tunnels between them.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mayfly_mesh::{InterfaceShape, shape_interface};
use mayfly_runtime::TaskSet;
use mayfly_types::IpRange;
use mayfly_wireguard::{
    Engine, EngineChoice, Interface, InterfaceConfig, Inward, Outward, PeerConfig, PrivateKey,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;

/// Longer than anything takes that must happen, also on a crowded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long something that must not happen is waited for; that it can happen is shown beside it.
pub(crate) const SILENCE: Duration = Duration::from_millis(700);

pub(crate) fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {output:?}");
    text
}

/// Waits until `fact` holds; fails with its name.
pub(crate) fn wait_until(name: &str, mut fact: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < give_up, "never: {name}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One end of the wire.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) namespace: PathBuf,
}

impl Place {
    /// Runs `act` on a thread inside the namespace.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(&self.namespace).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn shell(&self, script: &str) -> String {
        shell(&format!(
            "nsenter --net={} sh -c '{script}'",
            self.namespace.display()
        ))
    }

    /// An interface of ours here, listening on some port, up, with this private address and these routes.
    pub(crate) fn open(
        &self,
        engine: Engine,
        name: &str,
        own: Ipv6Addr,
        routes: &[&str],
    ) -> Interface {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.open_as(engine, name, PrivateKey::generate(), any, own, routes)
    }

    pub(crate) fn open_as(
        &self,
        engine: Engine,
        name: &str,
        private_key: PrivateKey,
        listen: SocketAddr,
        own: Ipv6Addr,
        routes: &[&str],
    ) -> Interface {
        let runtime = Handle::current();
        let config = InterfaceConfig {
            name: name.to_owned(),
            private_key,
            listen,
            engine: match engine {
                Engine::Kernel => EngineChoice::Kernel,
                Engine::Userspace => EngineChoice::Userspace,
            },
        };
        self.inside(|| {
            let _runtime = runtime.enter();
            let interface = Interface::open(config).unwrap();
            shape_interface(&InterfaceShape {
                name: name.to_owned(),
                mtu: 1420,
                addresses: BTreeSet::from([IpAddr::from(own)]),
                routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            })
            .unwrap();
            interface
        })
    }

    /// A relay into an interface of this place.
    pub(crate) fn relay(&self, interface: &Interface, caller: IpAddr) -> (Inward, Outward) {
        let runtime = Handle::current();
        self.inside(|| runtime.block_on(interface.relay(caller)).unwrap())
    }

    /// Where an interface of this place is reached.
    pub(crate) fn endpoint(&self, interface: &Interface) -> SocketAddr {
        SocketAddr::new(self.ip.into(), interface.address().port())
    }

    pub(crate) fn listener(&self, own: Ipv6Addr) -> UdpSocket {
        let socket = self.inside(|| UdpSocket::bind((own, 0)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends a word to `to` from `own` until it arrives or `patience` is over.
    pub(crate) fn reaches(&self, own: Ipv6Addr, to: &UdpSocket, patience: Duration) -> bool {
        let target = to.local_addr().unwrap();
        let sender = self.inside(|| UdpSocket::bind((own, 0)).unwrap());
        to.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            let _ = sender.send_to(b"word", target);
            if to.recv_from(&mut [0; 16]).is_ok() {
                // What is still on its way belongs to this question, not to the next.
                while to.recv_from(&mut [0; 16]).is_ok() {}
                return true;
            }
        }
        false
    }
}

/// Whether this kernel has WireGuard; said if it has not.
pub(crate) fn has(engine: Engine) -> bool {
    if engine == Engine::Userspace {
        return true;
    }
    let wire = Wire::new();
    let tried = Command::new("ip")
        .args([
            "-n",
            &wire.left.name,
            "link",
            "add",
            "try",
            "type",
            "wireguard",
        ])
        .output();
    let has = tried.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: this kernel has no WireGuard");
    }
    has
}

/// Two places on one wire; gone when dropped.
pub(crate) struct Wire {
    pub(crate) left: Place,
    pub(crate) right: Place,
}

/// A number no other test, also of a run side by side, uses at the same time.
pub(crate) fn unique() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed) % 16
}

impl Wire {
    pub(crate) fn new() -> Wire {
        let unique = unique();
        let place = |side, last| Place {
            name: format!("wg{unique:x}{side}"),
            ip: Ipv4Addr::new(192, 0, 2, last),
            namespace: format!("/run/netns/wg{unique:x}{side}").into(),
        };
        let (left, right) = (place("l", 1), place("r", 2));
        shell(&format!(
            "ip netns add {0} && ip netns add {1} &&
             ip -n {0} link add wire type veth peer name wire netns {1} &&
             ip -n {0} addr add {2}/24 dev wire && ip -n {1} addr add {3}/24 dev wire &&
             ip -n {0} link set wire up && ip -n {1} link set wire up &&
             ip -n {0} link set lo up && ip -n {1} link set lo up",
            left.name, right.name, left.ip, right.ip
        ));
        Wire { left, right }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        shell(&format!(
            "ip netns del {}; ip netns del {}",
            self.left.name, self.right.name
        ));
    }
}

pub(crate) fn peer(of: &Interface, endpoint: Option<SocketAddr>, allowed: &[&str]) -> PeerConfig {
    PeerConfig {
        public_key: of.public_key(),
        preshared_key: None,
        endpoint,
        allowed_ips: ranges(allowed),
        keepalive: None,
    }
}

pub(crate) fn ranges(texts: &[&str]) -> Vec<IpRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Runs an interface until the set ends.
pub(crate) async fn run(tasks: &TaskSet, interface: &Interface) {
    let interface = interface.clone();
    tasks
        .spawn("interface", |stop| async move {
            interface.run(stop).await.unwrap();
        })
        .await;
}
