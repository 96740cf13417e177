use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use mayfly_netlink::Socket;
use mayfly_types::IpRange;

use crate::MeshError;
use crate::route;

/// The addresses of apps that this host answers for: ranges of IPv4 by a local route to the whole range (AnyIP), IPv6 one
/// by one.
///
/// What was made is remembered in the data directory, so that it can be taken away again by whoever opens it later.
#[derive(Debug)]
pub struct LocalAddresses {
    file: PathBuf,
    made: BTreeSet<String>,
    /// Whether the kernel was asked for all of them since this was opened; a reboot has forgotten them.
    asked: bool,
}

const FILE: &str = "local-addresses.json";

impl LocalAddresses {
    pub fn open(data_dir: &Path) -> Result<LocalAddresses, MeshError> {
        let file = data_dir.join(FILE);
        let made = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        };
        let made = made.map_err(MeshError::Local)?;
        Ok(LocalAddresses {
            file,
            made,
            asked: false,
        })
    }

    /// Answers for exactly these ranges. Those of the loopback network every host answers for already. Blocking.
    ///
    /// # Errors
    /// The kernel refuses a range; the others are set all the same.
    pub fn set(&mut self, wanted: &BTreeSet<IpRange>) -> Result<(), MeshError> {
        let wanted: BTreeSet<String> = wanted
            .iter()
            .filter(|range| !range.first().is_loopback())
            .map(IpRange::to_string)
            .collect();
        if self.asked && wanted == self.made {
            return Ok(());
        }
        let before = self.made.clone();
        let mut all = before.clone();
        all.extend(wanted.iter().cloned());
        // Before the kernel is told: what is not on record would stay behind.
        self.record(all)?;
        let mut failed = None;
        for range in &wanted {
            let known = self.asked && before.contains(range);
            if !known && let Err(error) = add(range) {
                failed = Some(error);
            }
        }
        for range in before.difference(&wanted) {
            if let Err(error) = remove(range) {
                failed = Some(error);
            }
        }
        self.record(wanted)?;
        self.asked = failed.is_none();
        failed.map_or(Ok(()), |error| Err(MeshError::Local(error)))
    }

    /// Answers for none of them any more. Blocking.
    pub fn clear(mut self) -> Result<(), MeshError> {
        self.set(&BTreeSet::new())
    }

    fn record(&mut self, made: BTreeSet<String>) -> Result<(), MeshError> {
        if made == self.made {
            return Ok(());
        }
        let beside = self.file.with_extension("json.new");
        let text = serde_json::to_vec(&made).map_err(io::Error::from);
        text.and_then(|text| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &self.file))
            .map_err(MeshError::Local)?;
        self.made = made;
        Ok(())
    }
}

fn add(range: &str) -> io::Result<()> {
    let range = parse(range)?;
    if let Some(ip) = lone_v6(&range) {
        return Socket::route()?.send_one(route::loopback_address(ip));
    }
    let answered = Socket::route()?.send_one(route::local(range.first(), range.prefix_length()));
    match answered {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        answered => answered,
    }
}

fn remove(range: &str) -> io::Result<()> {
    let range = parse(range)?;
    let message = match lone_v6(&range) {
        Some(ip) => route::delete_loopback_address(ip),
        None => route::delete_local(range.first(), range.prefix_length()),
    };
    match Socket::route()?.send_one(message) {
        // ESRCH and EADDRNOTAVAIL: not there.
        Err(error) if !matches!(error.raw_os_error(), Some(3 | 99)) => Err(error),
        _ => Ok(()),
    }
}

/// Over IPv6 a route is not enough to listen: the address itself must be on an interface.
fn lone_v6(range: &IpRange) -> Option<Ipv6Addr> {
    match range.first() {
        IpAddr::V6(ip) if range.prefix_length() == 128 => Some(ip),
        _ => None,
    }
}

fn parse(range: &str) -> io::Result<IpRange> {
    range.parse().map_err(io::Error::other)
}
