use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mayfly_netlink::Socket;
use mayfly_types::{MachineId, Region};
use tracing::{info, warn};

use crate::address::{Ipv4Pool, MACHINE_PREFIX_LENGTH, machine_prefix};
use crate::error::MeshError;
use crate::firewall::{self, Admission};
use crate::forwarding;
use crate::instance::Instance;
use crate::namespace;
use crate::route::{self, GATEWAY_V4, GATEWAY_V6, Link, Scope};
use crate::traffic::Traffic;

/// A machine's place in the network. All 2¹⁶ addresses that share the first 112 bits of `private_ip` lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub machine_id: MachineId,
    /// Its first 48 bits are the network: see [`private_ip`](crate::private_ip).
    pub private_ip: Ipv6Addr,
    /// From [`Mesh::ipv4_pool`].
    pub ipv4: Ipv4Addr,
}

/// The network of one daemon's machines; cheap to clone.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    instance: Instance,
    table: String,
    prefix: String,
    run_dir: PathBuf,
    /// Whether new interfaces have no IPv6 unless it is given to them.
    ipv6_is_off: bool,
    /// What was brought into shape since this daemon started: attaching it again is a look at one file.
    attached: Mutex<BTreeSet<MachineId>>,
}

/// The interface name inside a machine.
const GUEST_INTERFACE: &str = "eth0";
/// Stands in the names of gateways' interfaces where those of machines have hexadecimal digits.
const GATEWAY_MARK: &str = "wg";
/// Digits of the machine id in an interface name, whose 15 characters also hold the instance.
const NAME_DIGITS: usize = 9;
/// The kernel works such events off at once or, when there are many, once a second.
const OPERATIONAL_PATIENCE: Duration = Duration::from_secs(10);
const OPERATIONAL_PAUSE: Duration = Duration::from_micros(500);

impl Mesh {
    /// Claims this data directory's instance, loads the firewall, lets the kernel forward, and removes the elements of
    /// interfaces that are gone. `more_hosts` name the hosts besides the first that share this network; each has an
    /// IPv4 pool of its own. Blocking; for a daemon's start.
    pub fn start(data_dir: &Path, more_hosts: &[String]) -> Result<Mesh, MeshError> {
        let instance = Instance::claim(data_dir, more_hosts)?;
        let (table, prefix) = (instance.table(), instance.interface_prefix());
        let names = instance.names_address();
        firewall::load_rules(&table, &prefix, &instance.pools(), names)
            .map_err(MeshError::Firewall)?;
        let_the_kernel_forward()?;
        if let Some(other) = forwarding::foreign_drop(&table, &prefix) {
            warn!(
                table = other,
                "another firewall drops what machines send and are sent; let it through with: \
                 iptables -I FORWARD -i {prefix}+ -j ACCEPT; iptables -I FORWARD -o {prefix}+ -j ACCEPT"
            );
        }
        let run_dir = instance.run_dir();
        let claim = |source| MeshError::Claim {
            directory: data_dir.display().to_string(),
            source,
        };
        namespace::prepare_directory(&run_dir).map_err(claim)?;
        let mesh = Mesh(Arc::new(Inner {
            data_dir: data_dir.to_owned(),
            instance,
            table,
            prefix,
            run_dir,
            ipv6_is_off: ipv6_is_off_by_default(),
            attached: Mutex::default(),
        }));
        let swept = mesh.0.sweep_elements().map_err(MeshError::List)?;
        info!(
            table = mesh.0.table,
            pool = %mesh.0.instance.pool,
            swept,
            "network ready"
        );
        Ok(mesh)
    }

    /// Four characters that tell this data directory's things in the kernel from those of others.
    pub fn tag(&self) -> &str {
        &self.0.instance.tag
    }

    /// The IPv4 addresses the first host of this daemon may give to machines.
    pub fn ipv4_pool(&self) -> Ipv4Pool {
        self.0.instance.pool
    }

    /// Those of a further host, by the name it was given at the start.
    pub fn ipv4_pool_of(&self, host: &str) -> Option<Ipv4Pool> {
        self.0.instance.more_pools.get(host).copied()
    }

    /// The address of this host at which machines' questions about names arrive (port 53, UDP and TCP). Machines ask
    /// `fdaa::3`, which several daemons on a server share.
    pub fn names_address(&self) -> Ipv6Addr {
        self.0.instance.names_address()
    }

    /// What the tunnel interface of a region's gateway is called: rules for users' devices go by this name.
    pub fn gateway_interface(&self, region: &Region) -> String {
        format!("{}{GATEWAY_MARK}{region}", self.0.prefix)
    }

    /// Takes away the WireGuard links that an earlier process of this daemon left in the kernel, but for those in use.
    ///
    /// # Errors
    /// `MeshError::List`; a later call completes it.
    pub async fn sweep_tunnels(&self, used: BTreeSet<String>) -> Result<(), MeshError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.remove_tunnels(&used))
            .await
            .map_err(MeshError::List)
    }

    /// Lets exactly these devices into their networks by a gateway's interface, each named by the first address of its
    /// /120.
    ///
    /// # Errors
    /// `MeshError::Peers`; a later call completes it.
    pub async fn admit_peers(
        &self,
        interface: &str,
        peers: BTreeSet<Ipv6Addr>,
    ) -> Result<(), MeshError> {
        let (inner, name) = (Arc::clone(&self.0), interface.to_owned());
        blocking(move || {
            firewall::admit_peers(&mut Socket::netfilter()?, &inner.table, &name, &peers)
        })
        .await
        .map_err(MeshError::Peers)
    }

    /// Where a machine's network namespace is kept while it is attached.
    pub fn namespace_path(&self, machine: MachineId) -> PathBuf {
        self.0.namespace_path(machine)
    }

    /// Makes the machine's namespace, interfaces, addresses, routes and admission; completes what an interrupted call
    /// left. Returns the namespace's path.
    pub async fn attach(&self, attachment: Attachment) -> Result<PathBuf, MeshError> {
        let inner = Arc::clone(&self.0);
        let failed = move |source| MeshError::Machine {
            action: "attach the network",
            machine: attachment.machine_id,
            source,
        };
        blocking(move || inner.attach(attachment))
            .await
            .map_err(failed)
    }

    /// Removes everything of the machine; absent is success.
    pub async fn detach(&self, machine: MachineId) -> Result<(), MeshError> {
        let inner = Arc::clone(&self.0);
        let failed = move |source| MeshError::Machine {
            action: "detach the network",
            machine,
            source,
        };
        blocking(move || inner.detach(machine))
            .await
            .map_err(failed)
    }

    /// Enforces policies, sources and public addresses as wished, from now on and whatever was enforced before. The
    /// kernel keeps them while no daemon runs.
    pub async fn set_traffic(&self, traffic: Arc<Traffic>) -> Result<(), MeshError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.set_traffic(&traffic))
            .await
            .map_err(MeshError::Traffic)
    }

    /// Every machine of which this daemon's network holds anything.
    pub async fn machines(&self) -> Result<Vec<MachineId>, MeshError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.machines())
            .await
            .map_err(MeshError::List)
    }

    /// Detaches all machines and takes everything else of this daemon out of the kernel, until its next start finds it
    /// in the data directory. Blocking.
    pub fn withdraw(&self) -> Result<(), MeshError> {
        let machines = self.0.machines().map_err(MeshError::List)?;
        for machine in machines {
            let failed = |source| MeshError::Machine {
                action: "detach the network",
                machine,
                source,
            };
            self.0.detach(machine).map_err(failed)?;
        }
        self.0.withdraw().map_err(|source| self.claim_error(source))
    }

    /// [Withdraws](Mesh::withdraw) and forgets the instance. Blocking.
    pub fn dismantle(self) -> Result<(), MeshError> {
        self.withdraw()?;
        Instance::forget(&self.0.data_dir).map_err(|source| self.claim_error(source))
    }

    fn claim_error(&self, source: io::Error) -> MeshError {
        MeshError::Claim {
            directory: self.0.data_dir.display().to_string(),
            source,
        }
    }
}

impl Inner {
    fn attach(&self, attachment: Attachment) -> io::Result<PathBuf> {
        let path = self.namespace_path(attachment.machine_id);
        let kept = namespace::exists(&path);
        if kept && self.attached().contains(&attachment.machine_id) {
            return Ok(path);
        }
        let name = self.interface(attachment.machine_id);
        let alias = alias_of(&attachment);
        let mut host = Socket::route()?;
        let existing = route::find_link(&mut host, &name)?;
        let (mut guest, link) = match existing {
            Some(link) if kept && link.alias == alias => (namespace::enter(&path)?, link),
            other => {
                self.remove_parts(&mut host, attachment.machine_id, other)?;
                self.make_parts(&mut host, &path, &name)?
            }
        };
        let (private_ip, ipv4) = (
            IpAddr::from(attachment.private_ip),
            IpAddr::from(attachment.ipv4),
        );
        let prefix = machine_prefix(attachment.private_ip);
        let inside = route::find_link(&mut guest, GUEST_INTERFACE)?
            .ok_or(io::ErrorKind::NotFound)?
            .index;
        guest.apply(vec![
            route::loopback_up(),
            route::settle(inside, None),
            route::up(inside),
            route::address(inside, private_ip, 128, Scope::Universe),
            route::address(inside, ipv4, 32, Scope::Universe),
            route::own(prefix, MACHINE_PREFIX_LENGTH),
            route::route_to(inside, GATEWAY_V6.into()),
            route::route_to(inside, GATEWAY_V4.into()),
            route::default_route(inside, GATEWAY_V6.into()),
            route::default_route(inside, GATEWAY_V4.into()),
        ])?;
        let source = self.instance.names_address();
        let by_the_machine = route::route_by(
            link.index,
            prefix,
            MACHINE_PREFIX_LENGTH,
            attachment.private_ip,
        );
        // The addresses first: once the link is up, the kernel's own work for it holds the lock they need.
        host.apply(vec![
            route::settle(link.index, Some(&alias)),
            route::address(link.index, GATEWAY_V6.into(), 128, Scope::Link),
            route::address(link.index, GATEWAY_V4.into(), 32, Scope::Link),
            route::up(link.index),
            route::from(route::route_to(link.index, private_ip), source),
            route::from(by_the_machine, source),
            route::route_to(link.index, ipv4),
        ])?;
        let admission = Admission {
            interface: &name,
            private_ip: attachment.private_ip,
            ipv4: attachment.ipv4,
        };
        firewall::admit(&mut Socket::netfilter()?, &self.table, &admission)?;
        wait_until_operational(&mut guest)?;
        self.attached().insert(attachment.machine_id);
        Ok(path)
    }

    fn make_parts(&self, host: &mut Socket, path: &Path, name: &str) -> io::Result<(Socket, Link)> {
        let guest = namespace::create(path)?;
        let file = fs::File::open(path)?;
        host.send_one(route::new_pair(name, GUEST_INTERFACE, file.as_fd()))?;
        if self.ipv6_is_off {
            fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0")?;
        }
        let link = route::find_link(host, name)?.ok_or(io::ErrorKind::NotFound)?;
        Ok((guest, link))
    }

    fn detach(&self, machine: MachineId) -> io::Result<()> {
        self.attached().remove(&machine);
        let mut host = Socket::route()?;
        let link = route::find_link(&mut host, &self.interface(machine))?;
        self.remove_parts(&mut host, machine, link)
    }

    fn remove_parts(
        &self,
        host: &mut Socket,
        machine: MachineId,
        link: Option<Link>,
    ) -> io::Result<()> {
        if let Some(link) = link {
            // The alias is the memory of what was admitted: it goes last.
            if let Some((_, private_ip, ipv4)) = parse_alias(&link.alias) {
                let admission = Admission {
                    interface: &link.name,
                    private_ip,
                    ipv4,
                };
                firewall::dismiss(&mut Socket::netfilter()?, &self.table, &admission)?;
            }
            match host.send_one(route::delete_link(link.index)) {
                Err(error) if error.raw_os_error() != Some(19) => return Err(error), // ENODEV
                _ => {}
            }
        }
        namespace::remove(&self.namespace_path(machine))
    }

    fn machines(&self) -> io::Result<Vec<MachineId>> {
        let mut machines = BTreeSet::new();
        let gateways = format!("{}{GATEWAY_MARK}", self.prefix);
        let mut links = route::list_links(&mut Socket::route()?, &self.prefix)?;
        links.retain(|link| !link.name.starts_with(&gateways));
        for link in links {
            match parse_alias(&link.alias) {
                Some((machine, _, _)) => {
                    machines.insert(machine);
                }
                // Made by a call that was interrupted before it could name it; nothing refers to it.
                None => warn!(interface = link.name, "interface without an owner"),
            }
        }
        for entry in fs::read_dir(&self.run_dir)? {
            let name = entry?.file_name();
            machines.extend(
                name.to_str()
                    .and_then(|name| name.parse::<MachineId>().ok()),
            );
        }
        Ok(machines.into_iter().collect())
    }

    fn set_traffic(&self, traffic: &Traffic) -> io::Result<()> {
        let interface = |machine| self.interface(machine);
        firewall::load_traffic(&mut Socket::netfilter()?, &self.table, traffic, interface)
    }

    fn sweep_elements(&self) -> io::Result<usize> {
        let links = route::list_links(&mut Socket::route()?, &self.prefix)?;
        let names: BTreeSet<String> = links.into_iter().map(|link| link.name).collect();
        firewall::sweep(&mut Socket::netfilter()?, &self.table, |name| {
            names.contains(name)
        })
    }

    /// Each may have a table of its own name, which says where it is heard.
    fn remove_tunnels(&self, used: &BTreeSet<String>) -> io::Result<()> {
        let gateways = format!("{}{GATEWAY_MARK}", self.prefix);
        let tunnel = firewall::tunnel_name(&self.instance.tag);
        let mut routes = Socket::route()?;
        for link in route::list_links(&mut routes, "m")? {
            let ours = link.name.starts_with(&gateways) || link.name == tunnel;
            if !ours || link.kind != "wireguard" || used.contains(&link.name) {
                continue;
            }
            firewall::delete_table(&mut Socket::netfilter()?, &link.name)?;
            routes.send_one(route::delete_link(link.index))?;
            info!(
                interface = link.name,
                "a tunnel's interface of earlier is gone"
            );
        }
        Ok(())
    }

    fn withdraw(&self) -> io::Result<()> {
        self.remove_tunnels(&BTreeSet::new())?;
        namespace::remove_directory(&self.run_dir)?;
        self.instance.withdraw()
    }

    fn namespace_path(&self, machine: MachineId) -> PathBuf {
        self.run_dir.join(machine.as_str())
    }

    fn interface(&self, machine: MachineId) -> String {
        format!("{}{}", self.prefix, &machine.as_str()[..NAME_DIGITS])
    }

    fn attached(&self) -> MutexGuard<'_, BTreeSet<MachineId>> {
        self.attached.lock().expect("no holder of this lock panics")
    }
}

/// Waits for the kernel's own worker that lets the end of a pair send which came up first. What a machine sent before
/// that would be lost, and the first connection would wait a second for TCP to try again.
fn wait_until_operational(guest: &mut Socket) -> io::Result<()> {
    let give_up = Instant::now() + OPERATIONAL_PATIENCE;
    while !route::find_link(guest, GUEST_INTERFACE)?.is_some_and(|link| link.operational) {
        if Instant::now() >= give_up {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(OPERATIONAL_PAUSE);
    }
    Ok(())
}

fn alias_of(attachment: &Attachment) -> String {
    let Attachment {
        machine_id,
        private_ip,
        ipv4,
    } = attachment;
    format!("mayfly {machine_id} {private_ip} {ipv4}")
}

fn parse_alias(alias: &str) -> Option<(MachineId, Ipv6Addr, Ipv4Addr)> {
    let mut words = alias.strip_prefix("mayfly ")?.split(' ');
    let machine = words.next()?.parse().ok()?;
    let private_ip = words.next()?.parse().ok()?;
    Some((machine, private_ip, words.next()?.parse().ok()?))
}

fn let_the_kernel_forward() -> Result<(), MeshError> {
    const V4: &str = "/proc/sys/net/ipv4/ip_forward";
    const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
    if is_off(V4) {
        let failed = |source| MeshError::Sysctl { name: V4, source };
        fs::write(V4, "1").map_err(failed)?;
    }
    if is_off(V6) {
        let failed = |source| MeshError::Sysctl { name: V6, source };
        keep_router_advertisements().map_err(failed)?;
        fs::write(V6, "1").map_err(failed)?;
    }
    Ok(())
}

/// A forwarding host ignores router advertisements unless told to heed them all the same (2), and would lose a default
/// route it has from them: kernel documentation, `ip-sysctl`.
fn keep_router_advertisements() -> io::Result<()> {
    for entry in fs::read_dir("/proc/sys/net/ipv6/conf")? {
        let file = entry?.path().join("accept_ra");
        if fs::read_to_string(&file).is_ok_and(|value| value.trim() == "1") {
            fs::write(&file, "2")?;
        }
    }
    Ok(())
}

fn ipv6_is_off_by_default() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6")
        .is_ok_and(|value| value.trim() == "1")
}

fn is_off(sysctl: &str) -> bool {
    !fs::read_to_string(sysctl).is_ok_and(|value| value.trim() == "1")
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}
