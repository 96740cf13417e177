use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use mayfly_netlink::Socket;
use serde::{Deserialize, Serialize};

use crate::MeshError;
use crate::address::Ipv4Pool;
use crate::firewall::{claim_table, delete_table};
use crate::route;

/// What names one daemon's network among others on the same server; chosen once and kept in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    version: u32,
    /// Four hexadecimal digits.
    pub(crate) tag: String,
    pub(crate) pool: Ipv4Pool,
    /// One more pool for each further host of the daemon, by the name the host has there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) more_pools: BTreeMap<String, Ipv4Pool>,
}

const VERSION: u32 = 1;
const FILE: &str = "network.json";
/// Tags and pools tried before giving up; each try fails only if another daemon holds that very one.
const TRIES: u32 = 64;

impl Instance {
    /// The instance of a data directory, claimed in the kernel when the directory has none yet, with a pool of addresses
    /// for the first host and each of `more_hosts`.
    pub(crate) fn claim(data_dir: &Path, more_hosts: &[String]) -> Result<Instance, MeshError> {
        let failed = |source| MeshError::Claim {
            directory: data_dir.display().to_string(),
            source,
        };
        Instance::load_or_choose(data_dir, more_hosts).map_err(failed)
    }

    fn load_or_choose(data_dir: &Path, more_hosts: &[String]) -> io::Result<Instance> {
        let file = data_dir.join(FILE);
        let mut route_socket = Socket::route()?;
        let seed = fingerprint(&fs::canonicalize(data_dir)?);
        let mut instance = match fs::read(&file) {
            Ok(bytes) => {
                let instance: Instance = serde_json::from_slice(&bytes)?;
                if instance.version != VERSION {
                    return Err(io::Error::other(format!(
                        "{FILE} has version {}, this program knows {VERSION}",
                        instance.version
                    )));
                }
                instance
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let instance = Instance {
                    version: VERSION,
                    tag: claim_tag(seed)?,
                    pool: claim_pool(&mut route_socket, seed)?,
                    more_pools: BTreeMap::new(),
                };
                instance.save(&file)?;
                instance
            }
            Err(error) => return Err(error),
        };
        instance.settle(&mut route_socket)?;
        for host in more_hosts {
            if !instance.more_pools.contains_key(host) {
                let pool = claim_pool(&mut route_socket, seed)?;
                instance.more_pools.insert(host.clone(), pool);
                instance.save(&file)?;
            }
        }
        Ok(instance)
    }

    /// Makes what the kernel shall have of the instance: after a reboot or a halt the file is all there is.
    fn settle(&self, routes: &mut Socket) -> io::Result<()> {
        let mut tables = Socket::netfilter()?;
        let has_table = match claim_table(&mut tables, &self.table()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            claimed => claimed.is_err(),
        };
        for pool in self.pools() {
            match reserve(routes, pool) {
                // Without the table it is not ours: the table goes last.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !has_table => {
                    delete_table(&mut tables, &self.table())?;
                    return Err(io::Error::other(format!(
                        "another cloud of this server took the addresses {pool} while this one was down"
                    )));
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        routes.send_one(route::loopback_address(self.names_address()))
    }

    fn save(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&beside, file)
    }

    pub(crate) fn pools(&self) -> Vec<Ipv4Pool> {
        let more = self.more_pools.values().copied();
        std::iter::once(self.pool).chain(more).collect()
    }

    pub(crate) fn table(&self) -> String {
        format!("mayfly_{}", self.tag)
    }

    /// What the names of our host-side interfaces begin with.
    pub(crate) fn interface_prefix(&self) -> String {
        format!("mf{}", self.tag)
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        Path::new("/run/mayfly").join(&self.tag)
    }

    /// In the network number 0, which no organization is given.
    pub(crate) fn names_address(&self) -> Ipv6Addr {
        let tag = u16::from_str_radix(&self.tag, 16).expect("a tag is four hexadecimal digits");
        Ipv6Addr::new(0xfdaa, 0, 0, 0, 0, 0, tag, 3)
    }

    /// Takes everything of the instance out of the kernel; absent is success.
    pub(crate) fn withdraw(&self) -> io::Result<()> {
        let address = route::delete_loopback_address(self.names_address());
        match Socket::route()?.send_one(address) {
            Err(error) if error.raw_os_error() != Some(99) => return Err(error), // EADDRNOTAVAIL: not there
            _ => {}
        }
        for pool in self.pools() {
            let freed = route::delete_unreachable(pool.first(), Ipv4Pool::PREFIX_LENGTH);
            match Socket::route()?.send_one(freed) {
                Err(error) if error.raw_os_error() != Some(3) => return Err(error), // ESRCH: not there
                _ => {}
            }
        }
        delete_table(&mut Socket::netfilter()?, &self.table())
    }

    /// Forgets the instance: the next start with this directory chooses anew.
    pub(crate) fn forget(data_dir: &Path) -> io::Result<()> {
        fs::remove_file(data_dir.join(FILE))
    }
}

fn claim_tag(seed: u32) -> io::Result<String> {
    let mut socket = Socket::netfilter()?;
    for attempt in 0..TRIES {
        let tag = format!("{:04x}", seed.wrapping_add(attempt) & 0xffff);
        match claim_table(&mut socket, &format!("mayfly_{tag}")) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(tag),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The route that refuses the pool's unused addresses is also the mark that it is taken.
fn claim_pool(socket: &mut Socket, seed: u32) -> io::Result<Ipv4Pool> {
    for attempt in 0..TRIES {
        let pool = Ipv4Pool::numbered(seed.wrapping_add(attempt));
        match reserve(socket, pool) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(pool),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn reserve(socket: &mut Socket, pool: Ipv4Pool) -> io::Result<()> {
    socket.send_one(route::unreachable(pool.first(), Ipv4Pool::PREFIX_LENGTH))
}

/// FNV-1a of the path, folded: a start for the search that differs between directories.
fn fingerprint(path: &Path) -> u32 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
