use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait_until;

/// What the kernel still holds of the machines of one data directory, found without asking any program of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes that name the data directory in their command line, or live in a cgroup of a machine.
    pub processes: BTreeSet<i32>,
    /// Mount points below the data directory.
    pub mounts: BTreeSet<PathBuf>,
    /// Control groups of machines.
    pub cgroups: BTreeSet<PathBuf>,
    /// Network namespaces of machines, kept by a file under /run.
    pub namespaces: BTreeSet<PathBuf>,
    /// Files below the data directory that are loop devices, in whatever namespace they are mounted.
    pub disks: BTreeSet<PathBuf>,
}

impl Leftovers {
    /// Looks for everything of `data_dir`, and of `machines` by id where the kernel knows no directory.
    pub fn find(data_dir: &Path, machines: &[String]) -> Self {
        let cgroups = cgroups_of(machines);
        let mut processes = processes_naming(data_dir);
        for group in &cgroups {
            let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            processes.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Self {
            processes,
            mounts: mounts_below(data_dir),
            cgroups,
            namespaces: namespaces_of(machines),
            disks: disks_below(data_dir),
        }
    }

    /// Takes away everything of a cloud whose daemon shall not live any more.
    ///
    /// # Panics
    /// If something is left after a minute.
    pub fn sweep_cloud(data_dir: &Path) {
        Self::sweep_machines(data_dir);
        dismantle_network(data_dir);
    }

    /// Like [`Leftovers::sweep_cloud`] for one whose network is in a namespace of its own, which goes with the namespace:
    /// what is called the same outside of it is somebody else's.
    ///
    /// # Panics
    /// If something is left after a minute.
    pub fn sweep_apart(data_dir: &Path) {
        Self::sweep_machines(data_dir);
        if let Some(network) = Network::read(data_dir) {
            let namespaces = network.namespaces();
            unmount(&namespaces, UnmountFlags::DETACH).ok();
            fs::remove_dir(&namespaces).ok();
        }
    }

    fn sweep_machines(data_dir: &Path) {
        let machines: Vec<String> = entries(&data_dir.join("machines"))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        wait_until("nothing of the cloud is left", || {
            let left = Self::find(data_dir, &machines);
            left.sweep();
            left.is_empty()
        });
    }

    /// Names what the cloud of `data_dir`, not a single machine, has in the kernel: its nftables tables, its tunnels, its
    /// address, the claims of its pools, the disks of its volumes, its cgroups and the place of its network namespaces. All of it is gone after a halt.
    pub fn of_cloud(data_dir: &Path) -> Vec<String> {
        let disks = disks_below(data_dir);
        let disks = disks.into_iter().map(|path| path.display().to_string());
        let Some(network) = Network::read(data_dir) else {
            return disks.collect();
        };
        let listing = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let kernel = [
            listing("nft", &["list", "tables"]),
            listing("ip", &["-6", "address", "show", "dev", "lo"]),
            listing("ip", &["-4", "route", "show"]),
            listing("ip", &["-brief", "link"]),
        ]
        .concat();
        let named = [
            network.table(),
            network.address(),
            network.interfaces(),
            network.tunnel(),
        ];
        let named = named.into_iter().chain(network.claims());
        let mut left: Vec<String> = named.filter(|name| kernel.contains(name)).collect();
        let places = cgroups_of(std::slice::from_ref(&network.tag));
        let namespaces = Some(network.namespaces()).filter(|place| place.exists());
        left.extend(
            places
                .into_iter()
                .chain(namespaces)
                .map(|place| place.display().to_string()),
        );
        left.extend(disks);
        left
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes everything away by force.
    pub fn sweep(&self) {
        for pid in &self.processes {
            if let Some(pid) = Pid::from_raw(*pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
        for mount in self.mounts.iter().rev() {
            unmount(mount, UnmountFlags::DETACH).ok();
        }
        for namespace in &self.namespaces {
            unmount(namespace, UnmountFlags::DETACH).ok();
            fs::remove_file(namespace).ok();
        }
        for group in self.cgroups.iter().rev() {
            fs::remove_dir(group).ok();
        }
    }
}

/// What loop devices there are of files below the data directory; the kernel frees each with its last use.
fn disks_below(data_dir: &Path) -> BTreeSet<PathBuf> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = devices.filter_map(|device| {
        let named = fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        Some(PathBuf::from(named.trim_end_matches('\n')))
    });
    let below = data_dir.canonicalize().unwrap_or_else(|_| data_dir.into());
    backing.filter(|path| path.starts_with(&below)).collect()
}

fn processes_naming(data_dir: &Path) -> BTreeSet<i32> {
    let wanted = data_dir.as_os_str().as_encoded_bytes();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        if pid != own && command.windows(wanted.len()).any(|part| part == wanted) {
            found.insert(pid);
        }
    }
    found
}

fn mounts_below(data_dir: &Path) -> BTreeSet<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(data_dir))
        .collect()
}

fn cgroups_of(machines: &[String]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    if !machines.is_empty() {
        collect_groups(Path::new("/sys/fs/cgroup"), 0, machines, &mut found);
    }
    found
}

/// Machines' groups lie at most a handful of levels deep, also below a delegated slice of systemd.
fn collect_groups(
    directory: &Path,
    depth: usize,
    machines: &[String],
    found: &mut BTreeSet<PathBuf>,
) {
    if depth > 6 {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if machines
            .iter()
            .any(|machine| name.contains(machine.as_str()))
        {
            found.insert(entry.path());
        }
        collect_groups(&entry.path(), depth + 1, machines, found);
    }
}

/// They lie in `/run/mayfly/<tag>/<machine>`, where the tag tells data directories apart.
fn namespaces_of(machines: &[String]) -> BTreeSet<PathBuf> {
    entries(Path::new("/run/mayfly"))
        .flat_map(|tag| entries(&tag))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            machines.iter().any(|machine| *machine == name)
        })
        .collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// Prefix length of a pool in `network.json`.
const POOL_PREFIX: u8 = 18;

/// What `network.json` says of a cloud. A data directory whose daemon never came so far has none.
struct Network {
    tag: String,
    pools: Vec<String>,
}

impl Network {
    fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read(data_dir.join("network.json")).ok()?;
        let network: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let more = network["more_pools"].as_object().into_iter().flatten();
        let pools = more.map(|(_, pool)| pool).chain([&network["pool"]]);
        Some(Self {
            tag: network["tag"].as_str()?.to_owned(),
            pools: pools
                .filter_map(|pool| Some(pool["first"].as_str()?.to_owned()))
                .collect(),
        })
    }

    fn table(&self) -> String {
        format!("mayfly_{}", self.tag)
    }

    fn address(&self) -> String {
        format!("fdaa::{}:3/128", self.tag.trim_start_matches('0'))
    }

    /// What the names of its interfaces begin with.
    fn interfaces(&self) -> String {
        format!("mf{}", self.tag)
    }

    /// The interface to other servers.
    fn tunnel(&self) -> String {
        format!("mt{}", self.tag)
    }

    /// The WireGuard links of the kernel that are its, each with a table of the same name where it needs one.
    fn wireguard_links(&self) -> Vec<String> {
        let listed = Command::new("ip")
            .args(["-brief", "link", "show", "type", "wireguard"])
            .output();
        let text = String::from_utf8_lossy(&listed.map(|output| output.stdout).unwrap_or_default())
            .into_owned();
        text.lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| name.starts_with(&self.interfaces()) || *name == self.tunnel())
            .map(str::to_owned)
            .collect()
    }

    fn claims(&self) -> impl Iterator<Item = String> + '_ {
        let pools = self.pools.iter();
        pools.map(|first| format!("{first}/{POOL_PREFIX}"))
    }

    fn namespaces(&self) -> PathBuf {
        Path::new("/run/mayfly").join(&self.tag)
    }
}

/// Takes away what a cloud, not a single machine, has in the kernel: its nftables table, the claims of its address
/// pools, its own addresses and the mount that holds its network namespaces.
fn dismantle_network(data_dir: &Path) {
    let Some(network) = Network::read(data_dir) else {
        return;
    };
    for claim in network.claims() {
        ip(&["-4", "route", "del", "unreachable", &claim]);
    }
    ip(&["-6", "address", "del", &network.address(), "dev", "lo"]);
    let local = fs::read(data_dir.join("local-addresses.json")).unwrap_or_default();
    for range in serde_json::from_slice::<Vec<String>>(&local).unwrap_or_default() {
        let kind: &[&str] = if range.contains(':') {
            &["-6", "address", "del"]
        } else {
            &["-4", "route", "del", "local"]
        };
        ip(&[kind, &[range.as_str(), "dev", "lo"]].concat());
    }
    for link in network.wireguard_links() {
        delete_table(&link);
        ip(&["link", "del", &link]);
    }
    delete_table(&network.table());
    let namespaces = network.namespaces();
    unmount(&namespaces, UnmountFlags::DETACH).ok();
    fs::remove_dir(&namespaces).ok();
}

/// As [`ip`].
fn delete_table(name: &str) {
    Command::new("nft")
        .args(["delete", "table", "inet", name])
        .stderr(Stdio::null())
        .status()
        .ok();
}

/// What is gone already is fine.
fn ip(arguments: &[&str]) {
    Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status()
        .ok();
}
