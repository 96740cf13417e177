//! One stream of TCP through a tunnel between two namespaces, beside wireguard-go and beside the bare wire under both.
//!
//! On a busy machine the CPU time per gigabyte says more than the throughput: both ends of a tunnel are processes of
//! their own, and it is read from the kernel.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_mesh::{InterfaceShape, shape_interface};
use mayfly_runtime::Stop;
use mayfly_wireguard::{EngineChoice, Interface, InterfaceConfig, PeerConfig, PrivateKey};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::cpu::cpu_of;
use crate::stats::Pairs;

/// The argument that makes this program one end of a tunnel.
pub(crate) const ROLE: &str = "--tunnel-end";

const ROUNDS: usize = 10;
/// How long one stream is sent for.
const ROUND: Duration = Duration::from_secs(1);
const BLOCK: usize = 128 * 1024;
const GIGABYTE: f64 = 1e9;
const PATIENCE: Duration = Duration::from_secs(20);
const MTU: u32 = 1420;

pub(crate) fn run() -> Result<()> {
    let wire = Wire::make()?;
    let ours = Tunnel::start(&wire, Kind::Ours)?;
    let theirs = Tunnel::start(&wire, Kind::WireguardGo)?;
    let (mut time, mut cpu, mut bare) = (Pairs::default(), Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let own = ours.measure(&wire)?;
        let other = theirs.measure(&wire)?;
        let plain = wire.stream(wire.left_ip().into(), wire.right_ip().into())?;
        // The first round agrees on keys and warms up.
        if round > 0 {
            time.add(own.per_gigabyte, other.per_gigabyte);
            cpu.add(own.cpu_per_gigabyte, other.cpu_per_gigabyte);
            bare.add(own.per_gigabyte, plain);
        }
    }
    println!("per gigabyte through a tunnel:");
    time.print("time", "wireguard-go");
    cpu.print("CPU time of both ends", "wireguard-go");
    bare.print("time", "the bare wire");
    Ok(())
}

/// Two namespaces on one wire.
struct Wire {
    names: [String; 2],
    folder: TempDir,
}

impl Wire {
    fn make() -> Result<Wire> {
        let id = std::process::id();
        let names = [format!("mbl{id:x}"), format!("mbr{id:x}")];
        let [left, right] = &names;
        shell(&format!(
            "ip netns add {left} && ip netns add {right} &&
             ip -n {left} link add wire type veth peer name wire netns {right} &&
             ip -n {left} addr add 192.0.2.1/24 dev wire && ip -n {right} addr add 192.0.2.2/24 dev wire &&
             ip -n {left} link set wire up && ip -n {right} link set wire up"
        ))?;
        let folder = tempfile::tempdir()?;
        Ok(Wire { names, folder })
    }

    fn left_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 1)
    }

    fn right_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 2)
    }

    fn namespace(&self, end: usize) -> PathBuf {
        Path::new("/run/netns").join(&self.names[end])
    }

    /// A command of one end.
    fn command(&self, end: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(end).display()));
        command.arg(program);
        command
    }

    /// Sends from left to right for a while; the time one gigabyte took.
    fn stream(&self, from: IpAddr, to: IpAddr) -> Result<Duration> {
        let listener = inside(&self.namespace(1), || TcpListener::bind((to, 0)))?;
        let target = listener.local_addr()?;
        let receiver = std::thread::spawn(move || -> std::io::Result<(u64, Duration)> {
            let (mut stream, _) = listener.accept()?;
            let mut block = vec![0; BLOCK];
            let (begun, mut bytes) = (Instant::now(), 0);
            loop {
                match stream.read(&mut block)? {
                    0 => return Ok((bytes, begun.elapsed())),
                    length => bytes += length as u64,
                }
            }
        });
        ensure!(from.is_ipv4() == to.is_ipv4(), "one family");
        let mut stream = inside(&self.namespace(0), || {
            TcpStream::connect_timeout(&target, PATIENCE)
        })?;
        let (block, begun) = (vec![0x5a; BLOCK], Instant::now());
        while begun.elapsed() < ROUND {
            stream.write_all(&block)?;
        }
        drop(stream);
        let (bytes, took) = receiver.join().expect("the receiver does not panic")?;
        Ok(took.div_f64(bytes as f64 / GIGABYTE))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = shell(&format!("ip netns del {name}"));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    WireguardGo,
}

/// Two ends that have each other for a peer.
struct Tunnel {
    ends: Vec<Child>,
    addresses: [Ipv6Addr; 2],
}

struct Measured {
    per_gigabyte: Duration,
    cpu_per_gigabyte: Duration,
}

/// All one end has to know.
struct End {
    interface: String,
    key: PrivateKey,
    port: u16,
    address: Ipv6Addr,
    peer: String,
    peer_endpoint: SocketAddr,
    peer_address: Ipv6Addr,
}

impl Tunnel {
    fn start(wire: &Wire, kind: Kind) -> Result<Tunnel> {
        let keys = [PrivateKey::generate(), PrivateKey::generate()];
        let (network, port) = match kind {
            Kind::Ours => (1, 51_821),
            Kind::WireguardGo => (2, 51_822),
        };
        let addresses = [1, 2].map(|last| Ipv6Addr::new(0xfdaa, 0, network, 0, 0, 0, 0, last));
        let mut tunnel = Tunnel {
            ends: Vec::new(),
            addresses,
        };
        for end in [0, 1] {
            let other = 1 - end;
            let outside = [wire.left_ip(), wire.right_ip()][other];
            let end_of = End {
                interface: format!("mb{network}{end}{:x}", std::process::id()),
                key: keys[end].clone(),
                port,
                address: addresses[end],
                peer: keys[other].public().to_string(),
                peer_endpoint: (outside, port).into(),
                peer_address: addresses[other],
            };
            let child = match kind {
                Kind::Ours => end_of.start_ours(wire, end)?,
                Kind::WireguardGo => end_of.start_theirs(wire, end)?,
            };
            tunnel.ends.push(child);
        }
        let give_up = Instant::now() + PATIENCE;
        while wire
            .stream(addresses[0].into(), addresses[1].into())
            .is_err()
        {
            ensure!(
                Instant::now() < give_up,
                "the tunnel of {kind:?} does not come up"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(tunnel)
    }

    fn measure(&self, wire: &Wire) -> Result<Measured> {
        let before = self.cpu()?;
        let begun = Instant::now();
        let [left, right] = self.addresses;
        let per_gigabyte = wire.stream(left.into(), right.into())?;
        let gigabytes = begun.elapsed().div_duration_f64(per_gigabyte);
        Ok(Measured {
            per_gigabyte,
            cpu_per_gigabyte: (self.cpu()? - before).div_f64(gigabytes),
        })
    }

    /// CPU time of both ends so far.
    fn cpu(&self) -> Result<Duration> {
        self.ends.iter().map(|end| cpu_of(end.id())).sum()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        for end in &mut self.ends {
            let _ = end.kill();
            let _ = end.wait();
        }
    }
}

impl End {
    fn start_ours(&self, wire: &Wire, end: usize) -> Result<Child> {
        let program = std::env::current_exe().context("find this program")?;
        let program = program.to_str().context("this program's path is text")?;
        wire.command(end, program)
            .args([ROLE, &self.interface, &self.key.reveal()])
            .args([self.port.to_string(), self.address.to_string()])
            .args([
                &self.peer,
                &self.peer_endpoint.to_string(),
                &self.peer_address.to_string(),
            ])
            .spawn()
            .context("start our end of a tunnel")
    }

    fn start_theirs(&self, wire: &Wire, end: usize) -> Result<Child> {
        let End {
            interface,
            address,
            peer_address,
            ..
        } = self;
        let socket = format!("/var/run/wireguard/{interface}.sock");
        // Of a run that was killed; its name is ours now.
        let _ = std::fs::remove_file(&socket);
        let child = wire
            .command(end, "wireguard-go")
            .args(["-f", interface])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start wireguard-go (package wireguard-go)")?;
        let give_up = Instant::now() + PATIENCE;
        while !Path::new(&socket).exists() {
            ensure!(Instant::now() < give_up, "wireguard-go does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let file = wire.folder.path().join(interface);
        std::fs::write(
            &file,
            format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nEndpoint = {}\nAllowedIPs = {peer_address}/128\n",
                self.key.reveal(),
                self.port,
                self.peer,
                self.peer_endpoint
            ),
        )?;
        let namespace = wire.namespace(end);
        shell(&format!(
            "nsenter --net={0} wg setconf {interface} {1} && nsenter --net={0} ip addr add {address}/128 dev {interface} && \
             nsenter --net={0} ip link set {interface} up mtu {MTU} && nsenter --net={0} ip route add {peer_address}/128 dev {interface}",
            namespace.display(),
            file.display()
        ))?;
        Ok(child)
    }
}

/// What this program does as one end of a tunnel; it ends by being killed.
pub(crate) fn serve() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [name, key, port, address, peer, endpoint, peer_address] = arguments.as_slice() else {
        anyhow::bail!("seven arguments");
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let interface = Interface::open(InterfaceConfig {
            name: name.clone(),
            private_key: key.parse()?,
            listen: (Ipv4Addr::UNSPECIFIED, port.parse::<u16>()?).into(),
            engine: EngineChoice::Userspace,
        })?;
        let peer_address: IpAddr = peer_address.parse()?;
        shape_interface(&InterfaceShape {
            name: name.clone(),
            mtu: MTU,
            addresses: BTreeSet::from([address.parse()?]),
            routes: BTreeSet::from([peer_address.into()]),
        })?;
        interface.set_peers(&[PeerConfig {
            public_key: peer.parse()?,
            preshared_key: None,
            endpoint: Some(endpoint.parse()?),
            allowed_ips: vec![peer_address.into()],
            keepalive: None,
        }])?;
        interface.run(Stop::new()).await?;
        Ok(())
    })
}

fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    let file = File::open(namespace)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        });
        Ok(thread.join().expect("a socket call does not panic")?)
    })
}

fn shell(script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", script]).output()?;
    ensure!(output.status.success(), "{script}: {output:?}");
    Ok(())
}
