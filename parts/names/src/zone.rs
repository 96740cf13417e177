//! The names under `.internal` and `.flycast`, as one network sees them.
//!
//! Names and their meaning: <https://fly.io/docs/networking/private-networking/>. What is not said there: a name that
//! exists but has no record of the type asked for answers without a record; a name that stands for nothing does not
//! exist.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;
use std::sync::Arc;

use mayfly_edge_api::{Directory, DirectoryPeer, Reach};
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::MachineState;
use mayfly_routing::round_trip;
use mayfly_types::{HostId, MachineId, NetworkId, Region};

/// An immutable answer to everything machines may ask, made anew at every change.
pub struct Names {
    networks: HashMap<NetworkId, Network>,
    askers: HashMap<Ipv6Addr, Arc<CatalogEntry>>,
    /// By the first address of their ranges.
    peers: HashMap<Ipv6Addr, Arc<DirectoryPeer>>,
}

/// The apps and users' devices of one network, in alphabetical order.
#[derive(Default)]
struct Network {
    apps: BTreeMap<String, App>,
    peers: BTreeMap<String, Ipv6Addr>,
}

#[derive(Default)]
struct App {
    machines: Vec<Arc<CatalogEntry>>,
    flycast: Vec<Ipv6Addr>,
}

/// What a name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In no order that matters unless the name asks for one.
    Addresses(Vec<Ipv6Addr>),
    /// As [`Found::Addresses`], nearest first: not to be shuffled.
    Ordered(Vec<Ipv6Addr>),
    Text(String),
    /// The name of a machine, for a reverse look-up.
    Pointer(String),
    /// The name exists, and has no record of this type.
    NoRecord,
    NoName,
}

/// The record types names have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Aaaa,
    Txt,
    Ptr,
    Other,
}

/// Who asks, and from where: it decides which names are seen, and which machines are near.
#[derive(Clone, Debug)]
pub struct Asker {
    network: NetworkId,
    region: Region,
    /// `None` for somebody who is on no host.
    host_id: Option<HostId>,
    /// Spreads askers over machines that are as far away as each other.
    spread: u128,
}

impl Asker {
    /// Somebody outside who is let into a network, in a region.
    pub fn visitor(network: NetworkId, region: Region) -> Asker {
        Asker {
            network,
            region,
            host_id: None,
            spread: 0,
        }
    }
}

impl Names {
    /// Reads what hosts and the control plane published. Apps without machines are known from the directory.
    pub fn new(catalog: &Catalog, directory: &Directory) -> Names {
        let mut networks: HashMap<NetworkId, Network> = HashMap::new();
        let mut askers = HashMap::new();
        for entry in catalog.iter() {
            askers.insert(entry.private_ip, Arc::clone(entry));
            let network = networks.entry(entry.network).or_default();
            let app = network.apps.entry(entry.app_name.to_string()).or_default();
            if entry.in_dns {
                app.machines.push(Arc::clone(entry));
            }
        }
        for app in &directory.apps {
            let network = networks.entry(app.network).or_default();
            network.apps.entry(app.name.to_string()).or_default();
            for address in &app.addresses {
                if let (Reach::Private(network), std::net::IpAddr::V6(ip)) =
                    (address.reach, address.ip)
                {
                    let network = networks.entry(network).or_default();
                    let flycast = &mut network
                        .apps
                        .entry(app.name.to_string())
                        .or_default()
                        .flycast;
                    flycast.push(ip);
                }
            }
        }
        let mut peers = HashMap::new();
        for peer in &directory.peers {
            let network = networks.entry(peer.network).or_default();
            network
                .peers
                .insert(peer.name.to_ascii_lowercase(), peer.ip);
            peers.insert(first_of_range(peer.ip), Arc::clone(peer));
        }
        Names {
            networks,
            askers,
            peers,
        }
    }

    /// The machine or device that has this address. Of a machine's, the last 16 bits do not matter.
    pub fn asker(&self, address: Ipv6Addr) -> Option<Asker> {
        if let Some(peer) = self.peers.get(&first_of_range(address)) {
            return Some(Asker {
                network: peer.network,
                region: peer.region.clone(),
                host_id: Some(peer.host_id),
                spread: peer.ip.to_bits(),
            });
        }
        let machine = self.machine_at(address)?;
        Some(Asker {
            network: machine.network,
            region: machine.region.clone(),
            host_id: Some(machine.host_id),
            spread: machine.private_ip.to_bits(),
        })
    }

    /// The network of the machine or device at an address.
    pub(crate) fn network_at(&self, address: Ipv6Addr) -> Option<NetworkId> {
        match self.peers.get(&first_of_range(address)) {
            Some(peer) => Some(peer.network),
            None => Some(self.machine_at(address)?.network),
        }
    }

    fn machine_at(&self, address: Ipv6Addr) -> Option<&CatalogEntry> {
        let known = self.askers.get(&address);
        let known = known.or_else(|| self.askers.get(&main_address(address)));
        known.map(Arc::as_ref)
    }

    /// What `name` (lower case, without the dot at the end) has for `asker`; `None` if it is not ours to answer.
    pub fn find(&self, asker: &Asker, name: &str, kind: Kind) -> Option<Found> {
        let empty = Network::default();
        let network = self.networks.get(&asker.network).unwrap_or(&empty);
        if let Some(reversed) = name.strip_suffix(".ip6.arpa") {
            return reversed
                .ends_with("a.a.d.f")
                .then(|| self.pointer(asker, reversed, kind));
        }
        if let Some(app) = under(name, "flycast") {
            return Some(network.flycast(app, kind));
        }
        let below = under(name, "internal")?;
        let labels: Vec<&str> = below.split('.').collect();
        Some(match labels.as_slice() {
            [] | [""] => Found::NoRecord,
            ["_api"] if kind == Kind::Aaaa => Found::Addresses(vec![well_known(asker.network)]),
            ["_api"] => Found::NoRecord,
            [special] if special.starts_with('_') => network.special(special, false, kind),
            ["all", special @ "_instances"] => network.special(special, true, kind),
            [peer, "_peer"] => network.peer(peer, kind),
            [prefix @ .., app] => match network.apps.get(*app) {
                None => Found::NoName,
                Some(app) => app.find(prefix, kind, asker),
            },
        })
    }

    /// The machine an address belongs to, within the asker's network.
    fn pointer(&self, asker: &Asker, reversed: &str, kind: Kind) -> Found {
        let machine = address_of(reversed)
            .and_then(|address| self.askers.get(&address))
            .filter(|machine| machine.network == asker.network);
        match (machine, kind) {
            (None, _) => Found::NoName,
            (Some(machine), Kind::Ptr) => Found::Pointer(format!(
                "{}.vm.{}.internal",
                machine.machine_id, machine.app_name
            )),
            (Some(_), _) => Found::NoRecord,
        }
    }
}

/// The one of a machine's addresses that others are told.
fn main_address(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> 16 << 16 | 2)
}

/// Number 3 of a network: the server of names and, at its own port, the API.
fn well_known(network: NetworkId) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfdaa << 112 | u128::from(network.0) << 80 | 3)
}

/// What stands before `zone` in `name`; empty for the zone itself.
fn under<'a>(name: &'a str, zone: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(zone)?;
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_suffix('.')
}

/// 32 nibbles, the last first (RFC 3596, 2.5).
fn address_of(reversed: &str) -> Option<Ipv6Addr> {
    let mut bits: u128 = 0;
    let mut count = 0;
    for nibble in reversed.rsplit('.') {
        let digit = (nibble.len() == 1).then(|| u128::from_str_radix(nibble, 16).ok())??;
        bits = bits << 4 | digit;
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits))
}

/// A device may use every address of its range.
fn first_of_range(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & !0xff)
}

fn is_started(machine: &CatalogEntry) -> bool {
    machine.state == MachineState::Started
}

fn text_only(kind: Kind, text: impl FnOnce() -> String) -> Found {
    match kind {
        Kind::Txt => Found::Text(text()),
        _ => Found::NoRecord,
    }
}

impl Network {
    fn flycast(&self, app: &str, kind: Kind) -> Found {
        match (self.apps.get(app), kind) {
            _ if app.is_empty() => Found::NoRecord,
            (None, _) => Found::NoName,
            (Some(app), _) if app.flycast.is_empty() => Found::NoName,
            (Some(app), Kind::Aaaa) => Found::Addresses(app.flycast.clone()),
            (Some(_), _) => Found::NoRecord,
        }
    }

    /// Names that speak of the whole network; with `all`, machines that do not run are included.
    fn special(&self, name: &str, all: bool, kind: Kind) -> Found {
        match name {
            "_apps" => text_only(kind, || {
                self.apps.keys().cloned().collect::<Vec<_>>().join(",")
            }),
            "_instances" => text_only(kind, || self.instances(all)),
            "_peer" => text_only(kind, || {
                self.peers.keys().cloned().collect::<Vec<_>>().join(",")
            }),
            _ => Found::NoName,
        }
    }

    fn peer(&self, name: &str, kind: Kind) -> Found {
        match (self.peers.get(name), kind) {
            (None, _) => Found::NoName,
            (Some(ip), Kind::Aaaa) => Found::Addresses(vec![*ip]),
            (Some(_), _) => Found::NoRecord,
        }
    }

    fn instances(&self, all: bool) -> String {
        let machines = self.apps.values().flat_map(|app| &app.machines);
        let entries: Vec<String> = machines
            .filter(|machine| all || is_started(machine))
            .map(|machine| {
                format!(
                    "instance={},app={},ip={},region={}",
                    machine.machine_id, machine.app_name, machine.private_ip, machine.region
                )
            })
            .collect();
        entries.join(";")
    }
}

impl App {
    /// The name `<prefix>.<app>.internal`.
    fn find(&self, prefix: &[&str], kind: Kind, asker: &Asker) -> Found {
        match prefix {
            [] | ["global"] => self.started(kind, true, |_| true),
            ["vms"] => text_only(kind, || self.vms(false)),
            ["all", "vms"] => text_only(kind, || self.vms(true)),
            ["regions"] => text_only(kind, || self.regions(false)),
            ["all", "regions"] => text_only(kind, || self.regions(true)),
            [id, "vm"] => match id.parse::<MachineId>() {
                Ok(id) => self.started(kind, false, |machine| machine.machine_id == id),
                Err(_) => Found::NoName,
            },
            [group, "process"] => self.started(kind, false, |machine| {
                machine
                    .metadata
                    .get("fly_process_group")
                    .is_some_and(|own| own.eq_ignore_ascii_case(group))
            }),
            [value, key, "kv", "_metadata"] => self.started(kind, false, |machine| {
                let matches = |(own, text): (&String, &String)| {
                    own.eq_ignore_ascii_case(key) && text.eq_ignore_ascii_case(value)
                };
                machine.metadata.iter().any(matches)
            }),
            [top, "nearest", "of"] => match top.strip_prefix("top").map(str::parse::<usize>) {
                Some(Ok(count)) if count > 0 => self.nearest(kind, count, asker),
                _ => Found::NoName,
            },
            ["vm" | "process" | "of" | "kv" | "_metadata"]
            | ["nearest", "of"]
            | ["kv", "_metadata"] => Found::NoRecord,
            [region] => self.started(kind, false, |machine| machine.region.as_str() == *region),
            _ => Found::NoName,
        }
    }

    /// Addresses of started machines; without any, the name exists only if `named` (the app's own).
    fn started(&self, kind: Kind, named: bool, wanted: impl Fn(&CatalogEntry) -> bool) -> Found {
        let mut machines = self
            .machines
            .iter()
            .filter(|machine| is_started(machine) && wanted(machine));
        let Some(first) = machines.next() else {
            return if named {
                Found::NoRecord
            } else {
                Found::NoName
            };
        };
        if kind != Kind::Aaaa {
            return Found::NoRecord;
        }
        let rest = machines.map(|machine| machine.private_ip);
        Found::Addresses(std::iter::once(first.private_ip).chain(rest).collect())
    }

    fn nearest(&self, kind: Kind, count: usize, asker: &Asker) -> Found {
        let mut machines: Vec<&Arc<CatalogEntry>> = self
            .machines
            .iter()
            .filter(|machine| is_started(machine))
            .collect();
        if machines.is_empty() {
            return Found::NoName;
        }
        if kind != Kind::Aaaa {
            return Found::NoRecord;
        }
        // Machines as far away as each other follow an order that differs per asker, so that load spreads.
        let spread = |machine: &CatalogEntry| {
            let (own, other) = (asker.spread, machine.private_ip.to_bits());
            ((own ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 64) as u64
        };
        machines.sort_by_key(|machine| {
            let elsewhere = Some(machine.host_id) != asker.host_id;
            (
                round_trip(&asker.region, &machine.region),
                elsewhere,
                spread(machine),
            )
        });
        let addresses = machines
            .iter()
            .take(count)
            .map(|machine| machine.private_ip);
        Found::Ordered(addresses.collect())
    }

    fn vms(&self, all: bool) -> String {
        let machines = self
            .machines
            .iter()
            .filter(|machine| all || is_started(machine));
        let entries: Vec<String> = machines
            .map(|machine| format!("{} {}", machine.machine_id, machine.region))
            .collect();
        entries.join(",")
    }

    fn regions(&self, all: bool) -> String {
        let machines = self
            .machines
            .iter()
            .filter(|machine| all || is_started(machine));
        let mut regions: Vec<&str> = machines.map(|machine| machine.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        regions.join(",")
    }
}

#[cfg(test)]
mod tests;
