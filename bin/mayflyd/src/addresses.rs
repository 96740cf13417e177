use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use mayfly_control::{AddressPools, EdgeAddress};
use mayfly_edge_api::{Directory, Reach};
use mayfly_mesh::{LocalAddresses, MeshError};
use mayfly_runtime::{Stop, report};
use mayfly_types::IpRange;
use tokio::sync::watch;
use tracing::error;

use crate::config::Addresses;

/// All of 127.0.0.0/8 is this host, so any part of it will do.
const LAPTOP_V4: &str = "127.80.0.0/16";

/// The pools of a cloud. One whose edge listens on loopback gives out addresses that only this host knows; `tag` tells
/// them from those of other clouds on it.
pub(crate) fn pools(configured: &Addresses, edges: &[EdgeAddress], tag: &str) -> AddressPools {
    let edge = edges[0].address.ip();
    let only_here = |range: Option<IpRange>| range.filter(|_| edge.is_loopback());
    let tag = u16::from_str_radix(tag, 16).expect("a tag is four hexadecimal digits");
    let laptop_v6 = Ipv6Addr::new(0xfd6d, 0x6179, tag, 0, 0, 0, 0, 0);
    AddressPools {
        v4: configured.v4.or_else(|| only_here(LAPTOP_V4.parse().ok())),
        v6: configured
            .v6
            .or_else(|| only_here(IpRange::new(laptop_v6.into(), 64))),
        shared_v4: configured.shared_v4.or(match edge {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        }),
        egress_v4: configured.egress_v4,
        egress_v6: configured.egress_v6,
    }
}

/// The addresses of apps that this host answers for: the IPv4 pool, and every IPv6 address while an app has it.
pub(crate) struct AnsweredFor {
    local: LocalAddresses,
    pools: BTreeSet<IpRange>,
    directory: watch::Receiver<Arc<Directory>>,
}

impl AnsweredFor {
    pub(crate) fn open(
        data_dir: &Path,
        pools: &AddressPools,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> Result<Self, MeshError> {
        let mut answered = Self {
            local: LocalAddresses::open(data_dir)?,
            pools: pools.v4.into_iter().collect(),
            directory,
        };
        answered.update()?;
        Ok(answered)
    }

    /// Follows the directory until told to stop. The addresses stay: edges that start again find them.
    pub(crate) async fn follow(mut self, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.directory.changed() => if changed.is_err() { return },
            }
            if let Err(problem) = self.update() {
                error!(
                    error = report(&problem),
                    "an address of an app leads nowhere"
                );
            }
        }
    }

    /// A few netlink messages at most: nothing to move to another thread.
    fn update(&mut self) -> Result<(), MeshError> {
        let directory = self.directory.borrow_and_update().clone();
        let mut wanted = self.pools.clone();
        // A neighbour that answers has to find somebody at the address it was spoken to from.
        let outward = directory.apps.iter().flat_map(|app| &app.egress);
        wanted.extend(outward.map(|address| IpRange::from(address.ip)));
        for address in directory.apps.iter().flat_map(|app| &app.addresses) {
            if address.ip.is_ipv6() && address.reach != Reach::Shared {
                wanted.insert(address.ip.into());
            }
        }
        self.local.set(&wanted)
    }
}
