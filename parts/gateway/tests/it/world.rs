//! Machines, a gateway, and a device of a user on a wire to it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mayfly_edge_api::{Directory, DirectoryPeer, GatewayApi, GatewayInfo, peer_range};
use mayfly_gateway::{GatewayConfig, GatewayDeps};
use mayfly_mesh::{Attachment, InterfaceShape, Mesh, private_ip, shape_interface};
use mayfly_runtime::TaskSet;
use mayfly_types::{HostId, MachineId, NetworkId, OrgId, PeerKey};
use mayfly_wireguard::{EngineChoice, Interface, InterfaceConfig, PeerConfig, PrivateKey};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Longer than anything takes that must happen, also on a crowded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long something that must not happen is waited for.
pub(crate) const SILENCE: Duration = Duration::from_millis(900);

pub(crate) async fn until(name: &str, mut fact: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < give_up, "never: {name}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn shell(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(namespace).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

fn connects(target: SocketAddr, patience: Duration) -> bool {
    let give_up = Instant::now() + patience;
    loop {
        if TcpStream::connect_timeout(&target, Duration::from_millis(400)).is_ok() {
            return true;
        }
        if Instant::now() > give_up {
            return false;
        }
    }
}

/// A machine that listens on port 8080.
pub(crate) struct Machine {
    pub(crate) ip: Ipv6Addr,
    namespace: PathBuf,
    _listener: TcpListener,
}

pub(crate) struct World {
    mesh: Option<Mesh>,
    folder: tempfile::TempDir,
    host: HostId,
    directory: watch::Sender<Arc<Directory>>,
    tasks: TaskSet,
    wire: String,
    pub(crate) host_ip: Ipv4Addr,
    namespace: PathBuf,
    devices: TaskSet,
}

/// A number no other test, also of a run side by side, uses at the same time.
fn unique() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed) % 16
}

impl World {
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let mesh = tokio::task::spawn_blocking(move || Mesh::start(&path, &[]).unwrap());
        let unique = unique();
        let wire = format!("tg{unique:x}");
        let base = u32::from_be_bytes([198, 18, 128, 0]) + unique % (1 << 13) * 4;
        let (host_ip, own) = (Ipv4Addr::from_bits(base + 1), Ipv4Addr::from_bits(base + 2));
        shell(&format!(
            "ip netns add {wire} && ip link add {wire} type veth peer name wan netns {wire} &&
             ip addr add {host_ip}/30 dev {wire} && ip link set {wire} up &&
             ip -n {wire} addr add {own}/30 dev wan && ip -n {wire} link set wan up && ip -n {wire} link set lo up"
        ));
        World {
            mesh: Some(mesh.await.unwrap()),
            folder,
            host: format!("{unique:08x}").parse().unwrap(),
            directory: watch::Sender::default(),
            tasks: TaskSet::new(),
            namespace: format!("/run/netns/{wire}").into(),
            wire,
            host_ip,
            devices: TaskSet::new(),
        }
    }

    fn mesh(&self) -> &Mesh {
        self.mesh.as_ref().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn machine(&self, network: u32, number: u8) -> Machine {
        let attachment = Attachment {
            machine_id: MachineId::from_random([number; 14]),
            private_ip: private_ip(NetworkId(network), self.host, u32::from(number)),
            ipv4: self.mesh().ipv4_pool().nth(u32::from(number)).unwrap(),
        };
        let namespace = self.mesh().attach(attachment).await.unwrap();
        let ip = attachment.private_ip;
        let listener = inside(&namespace, || TcpListener::bind((ip, 8080)).unwrap());
        Machine {
            ip,
            namespace,
            _listener: listener,
        }
    }

    pub(crate) fn machine_reaches(&self, machine: &Machine, target: Ipv6Addr) -> bool {
        inside(&machine.namespace, || {
            connects((target, 8080).into(), PATIENCE)
        })
    }

    /// Opens the gateway, at a port if one is named, and runs it.
    pub(crate) async fn open(&mut self, port: Option<u16>) -> Arc<dyn GatewayApi> {
        let config = GatewayConfig {
            region: "iad".parse().unwrap(),
            host_id: self.host,
            listen: (self.host_ip, port.unwrap_or(0)).into(),
            websocket_listen: Some((self.host_ip, 0).into()),
            endpoint: self.host_ip.to_string(),
            wireguard: EngineChoice::Auto,
            directory: self.folder().join("gateway"),
        };
        let gateway = config
            .build(GatewayDeps {
                mesh: self.mesh().clone(),
                directory: self.directory.subscribe(),
            })
            .await
            .unwrap();
        let handle = gateway.handle();
        self.tasks = TaskSet::new();
        self.tasks.spawn("gateway", |stop| gateway.run(stop)).await;
        handle
    }

    pub(crate) async fn close_gateway(&self) {
        assert!(self.tasks.shut_down(PATIENCE).await);
    }

    pub(crate) fn publish(&self, peers: Vec<DirectoryPeer>) {
        self.directory.send_replace(Arc::new(Directory {
            peers: peers.into_iter().map(Arc::new).collect(),
            ..Directory::default()
        }));
    }

    /// A device that connects by UDP.
    pub(crate) fn device(
        &self,
        gateway: &Arc<dyn GatewayApi>,
        network: u32,
        number: u32,
    ) -> Device {
        let info = gateway.info();
        let endpoint = SocketAddr::new(self.host_ip.into(), info.port);
        Device::new(self, &info, network, number, endpoint)
    }

    pub(crate) fn run(&self, interface: &Interface) {
        let interface = interface.clone();
        let devices = &self.devices;
        let spawned = devices.spawn("device", |stop| async move {
            interface.run(stop).await.unwrap();
        });
        tokio::task::block_in_place(|| Handle::current().block_on(spawned));
    }

    pub(crate) async fn end(mut self) {
        assert!(self.tasks.shut_down(PATIENCE).await);
        assert!(self.devices.shut_down(PATIENCE).await);
        let mesh = self.mesh.take().unwrap();
        tokio::task::spawn_blocking(move || mesh.dismantle().unwrap())
            .await
            .unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        shell(&format!(
            "ip netns del {0}; ip link del {0} 2>/dev/null || true",
            self.wire
        ));
    }
}

/// A user's device: our own engine, as any client would be.
pub(crate) struct Device {
    key: PrivateKey,
    pub(crate) ip: Ipv6Addr,
    namespace: PathBuf,
    network: u32,
}

impl Device {
    pub(crate) fn new(
        world: &World,
        gateway: &GatewayInfo,
        network: u32,
        number: u32,
        endpoint: SocketAddr,
    ) -> Device {
        let key = PrivateKey::generate();
        let ip = private_ip(NetworkId(network), world.host, number);
        let prefix = Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80));
        let config = InterfaceConfig {
            name: "wg0".to_owned(),
            private_key: key.clone(),
            listen: (Ipv4Addr::UNSPECIFIED, 0).into(),
            engine: EngineChoice::Userspace,
        };
        let runtime = Handle::current();
        let interface = inside(&world.namespace, || {
            let _runtime = runtime.enter();
            let interface = Interface::open(config).unwrap();
            shape_interface(&InterfaceShape {
                name: "wg0".to_owned(),
                mtu: 1420,
                addresses: BTreeSet::from([IpAddr::from(ip)]),
                routes: BTreeSet::from(["fdaa::/16".parse().unwrap()]),
            })
            .unwrap();
            interface
        });
        assert!(peer_range(ip).contains(ip.into()) && !peer_range(ip).contains(prefix.into()));
        interface
            .set_peers(&[PeerConfig {
                public_key: gateway.public_key,
                preshared_key: None,
                endpoint: Some(endpoint),
                // More than it is let into: the gateway decides.
                allowed_ips: vec!["fdaa::/16".parse().unwrap()],
                keepalive: None,
            }])
            .unwrap();
        world.run(&interface);
        Device {
            key,
            ip,
            namespace: world.namespace.clone(),
            network,
        }
    }

    pub(crate) fn public_key(&self) -> PeerKey {
        self.key.public()
    }

    pub(crate) fn entry(&self, gateway: &GatewayInfo) -> DirectoryPeer {
        DirectoryPeer {
            name: "device".to_owned(),
            org_id: OrgId::from_random([1; 16]),
            network: NetworkId(self.network),
            region: gateway.region.clone(),
            host_id: gateway.host_id,
            public_key: self.public_key(),
            ip: self.ip,
        }
    }

    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        inside(&self.namespace, act)
    }

    pub(crate) fn reaches(&self, machine: &Machine, patience: Duration) -> bool {
        let target = (machine.ip, 8080).into();
        tokio::task::block_in_place(|| self.inside(|| connects(target, patience)))
    }

    /// Whether an ICMPv6 echo to this address is answered from there.
    pub(crate) fn is_echoed(&self, address: Ipv6Addr) -> bool {
        use rustix::net::{
            AddressFamily, RecvFlags, SendFlags, SocketAddrV6, SocketType, ipproto, recvfrom,
            sendto, socket,
        };
        self.inside(|| {
            let kind = (AddressFamily::INET6, SocketType::RAW);
            let socket = socket(kind.0, kind.1, Some(ipproto::ICMPV6)).unwrap();
            let limit = Some(Duration::from_millis(500));
            rustix::net::sockopt::set_socket_timeout(
                &socket,
                rustix::net::sockopt::Timeout::Recv,
                limit,
            )
            .unwrap();
            let to = SocketAddrV6::new(address, 0, 0, 0);
            let echo = [128, 0, 0, 0, 7, 7, 0, 1];
            sendto(&socket, &echo, SendFlags::empty(), &to).unwrap();
            let mut bytes = [0; 64];
            while let Ok((_, length, from)) = recvfrom(&socket, &mut bytes[..], RecvFlags::empty())
            {
                let from = from.and_then(|from| SocketAddrV6::try_from(from).ok());
                if length >= 8 && bytes[0] == 129 && from.is_some_and(|from| *from.ip() == address)
                {
                    return true;
                }
            }
            false
        })
    }
}
