//! The nftables table that decides what machines reach.
//!
//! The table's chains are written once at start with `nft`, in one transaction that keeps the sets; what changes per
//! machine are set elements, sent by netlink. A machine without elements reaches nothing, so the order of an
//! interrupted attachment never opens anything. The rules, each proved by a test of this crate:
//!
//! - a packet must carry an address of the machine whose interface it came through;
//! - addresses of the host are refused before any port forwarding of the host could rewrite them;
//! - machine to machine only over IPv6 and only inside one network, on this server and across tunnels;
//! - from outside only answers; the host itself reaches every machine, and every address of an app inside a network;
//! - of the host, a machine reaches the server of names, the API, its own network's addresses of apps and what the whole
//!   world reaches, and nothing else; of the fleet's other servers the listeners of their edges;
//! - policies decide about whoever begins a conversation, each time it says something;
//! - a user's device speaks as the addresses it was given, into its own network.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use mayfly_netlink::{ACK, CREATE, DUMP, EXCL, Message, Socket, attributes};

use crate::address::{API_PORT, Ipv4Pool, machine_prefix, network_prefix};
use crate::traffic::{Address, Guard, Traffic, pieces};

/// Where every host takes connections of other servers' edges to its machines.
pub const BACKHAUL_PORT: u16 = 4292;

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const GET_ELEMENT: u16 = SUBSYSTEM << 8 | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const FAMILY_INET: u8 = 1;
const HEADER: [u8; 4] = [FAMILY_INET, 0, 0, 0];
const BATCH_HEADER: [u8; 4] = [0, 0, 0, SUBSYSTEM as u8];
/// Interface names fill this much of a key: `IFNAMSIZ`.
const NAME_BYTES: usize = 16;

/// The sets of the table that admit machines and devices, each keyed by interface and address.
const SETS: [&str; 4] = ["sources6", "sources4", "networks6", PEERS];
/// Keyed by interface, first address of a device's range, and network.
const PEERS: &str = "peers6";

/// Elements changed by one transaction; all of its answers must fit the socket's buffer.
const PEERS_AT_ONCE: usize = 200;

/// What one interface may send as, and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission<'a> {
    pub(crate) interface: &'a str,
    pub(crate) private_ip: Ipv6Addr,
    pub(crate) ipv4: Ipv4Addr,
}

impl Admission<'_> {
    fn elements(&self) -> [(&'static str, Vec<u8>); 3] {
        let key = |address: &[u8]| {
            let mut key = name_key(self.interface);
            key.extend(address);
            key
        };
        [
            (SETS[0], key(&machine_prefix(self.private_ip).octets())),
            (SETS[1], key(&self.ipv4.octets())),
            (SETS[2], key(&network_prefix(self.private_ip).octets())),
        ]
    }
}

/// Makes the table of a new instance; `AlreadyExists` if somebody has one of this name.
pub(crate) fn claim_table(socket: &mut Socket, table: &str) -> io::Result<()> {
    let create = Message::new(NEW_TABLE, ACK | CREATE | EXCL, &HEADER).text(1, table);
    batch(socket, vec![create])
}

/// Deletes the table and all in it; absent is success.
pub(crate) fn delete_table(socket: &mut Socket, table: &str) -> io::Result<()> {
    absent_is_fine(batch(
        socket,
        vec![Message::new(DELETE_TABLE, ACK, &HEADER).text(1, table)],
    ))
}

/// Brings the table's chains into the wanted form and keeps the sets' elements, as one transaction.
pub(crate) fn load_rules(
    table: &str,
    prefix: &str,
    pools: &[Ipv4Pool],
    names: Ipv6Addr,
) -> Result<(), String> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{error} (package nftables)"))?;
    let mut input = nft.stdin.take().expect("stdin is piped");
    let written = input.write_all(rules(table, prefix, pools, names).as_bytes());
    drop(input);
    let output = nft.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() && written.is_ok() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().take(4).collect::<Vec<_>>().join("; "))
}

/// What the interface of a daemon's tunnels to other servers is called.
pub fn tunnel_name(tag: &str) -> String {
    format!("mt{tag}")
}

fn rules(table: &str, prefix: &str, pools: &[Ipv4Pool], names: Ipv6Addr) -> String {
    let pools: Vec<String> = pools.iter().map(Ipv4Pool::to_string).collect();
    let tunnel = tunnel_name(prefix.trim_start_matches("mf"));
    let lines = include_str!("firewall.nft")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    lines
        .replace("TABLE", table)
        .replace("PREFIX", prefix)
        .replace("TUNNEL", &tunnel)
        .replace("BACKHAUL", &BACKHAUL_PORT.to_string())
        .replace("POOL", &format!("{{ {} }}", pools.join(", ")))
        .replace("NAMES", &names.to_string())
        .replace("API", &API_PORT.to_string())
}

pub(crate) fn admit(socket: &mut Socket, table: &str, who: &Admission<'_>) -> io::Result<()> {
    let messages = who
        .elements()
        .map(|(set, key)| element(NEW_ELEMENT, ACK | CREATE, table, set, &key));
    batch(socket, messages.into())
}

/// Takes back an admission, whole or what is left of it.
pub(crate) fn dismiss(socket: &mut Socket, table: &str, who: &Admission<'_>) -> io::Result<()> {
    let delete = |(set, key): &(&str, Vec<u8>)| element(DELETE_ELEMENT, ACK, table, set, key);
    let elements = who.elements();
    if batch(socket, elements.iter().map(delete).collect()).is_ok() {
        return Ok(());
    }
    // A batch is all or nothing, and nothing when one element is gone already.
    for one in &elements {
        absent_is_fine(batch(socket, vec![delete(one)]))?;
    }
    Ok(())
}

/// Removes the elements of interfaces for which `alive` says no; how many.
pub(crate) fn sweep(
    socket: &mut Socket,
    table: &str,
    alive: impl Fn(&str) -> bool,
) -> io::Result<usize> {
    let mut swept = 0;
    for set in SETS {
        for key in keys(socket, table, set)? {
            let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
            if !alive(&String::from_utf8_lossy(name)) {
                let delete = element(DELETE_ELEMENT, ACK, table, set, &key);
                absent_is_fine(batch(socket, vec![delete]))?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}

/// Lets exactly these devices in by a tunnel's interface, each named by the first address of its range.
pub(crate) fn admit_peers(
    socket: &mut Socket,
    table: &str,
    interface: &str,
    peers: &BTreeSet<Ipv6Addr>,
) -> io::Result<()> {
    let name = name_key(interface);
    let wanted: BTreeSet<Vec<u8>> = peers
        .iter()
        .map(|first| {
            let network = network_prefix(*first);
            [&name[..], &first.octets(), &network.octets()].concat()
        })
        .collect();
    let mut present: BTreeSet<Vec<u8>> = keys(socket, table, PEERS)?.into_iter().collect();
    present.retain(|key| key.starts_with(&name));
    let gone = present
        .difference(&wanted)
        .map(|key| element(DELETE_ELEMENT, ACK, table, PEERS, key));
    let new = wanted
        .difference(&present)
        .map(|key| element(NEW_ELEMENT, ACK | CREATE, table, PEERS, key));
    let mut changes: Vec<Message> = gone.chain(new).collect();
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(PEERS_AT_ONCE));
        batch(socket, changes)?;
        changes = rest;
    }
    Ok(())
}

fn name_key(interface: &str) -> Vec<u8> {
    let mut key = vec![0; NAME_BYTES];
    key[..interface.len()].copy_from_slice(interface.as_bytes());
    key
}

fn keys(socket: &mut Socket, table: &str, set: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    let query = Message::new(GET_ELEMENT, DUMP, &HEADER)
        .text(1, table)
        .text(2, set);
    socket.query(query, |_, body| {
        let elements = attributes(body.get(HEADER.len()..).unwrap_or_default())
            .filter(|(kind, _)| *kind == 3)
            .flat_map(|(_, list)| attributes(list));
        for (_, element) in elements {
            let key = attributes(element).find(|(kind, _)| *kind == 1);
            let value = key.and_then(|(_, data)| attributes(data).next());
            keys.extend(value.map(|(_, bytes)| bytes.to_vec()));
        }
    })?;
    Ok(keys)
}

/// Brings policies, sources and public addresses into the wanted form, as one transaction: there is no moment between
/// the old and the new.
pub(crate) fn load_traffic(
    socket: &mut Socket,
    table: &str,
    traffic: &Traffic,
    interface: impl Fn(mayfly_types::MachineId) -> String,
) -> io::Result<()> {
    let mut sets: Vec<(&str, Vec<Element>)> = Vec::new();
    let v4 = |ips: &BTreeSet<IpAddr>| -> Vec<Element> {
        let of_family = ips.iter().filter(|ip| ip.is_ipv4());
        of_family.map(|ip| Element::of(ip_bytes(*ip))).collect()
    };
    let v6 = |ips: &BTreeSet<IpAddr>| -> Vec<Element> {
        let of_family = ips.iter().filter(|ip| ip.is_ipv6());
        of_family.map(|ip| Element::of(ip_bytes(*ip))).collect()
    };
    sets.push(("public4", v4(&traffic.public)));
    sets.push(("public6", v6(&traffic.public)));
    sets.push(("outward4", v4(&traffic.outward)));
    sets.push(("outward6", v6(&traffic.outward)));
    let doors = |is_v4: bool| -> Vec<Element> {
        let of_family = traffic.doors.iter().filter(|door| door.is_ipv4() == is_v4);
        let key = |door: &SocketAddr| {
            let mut key = ip_bytes(door.ip());
            padded(&mut key, &door.port().to_be_bytes());
            Element::of(key)
        };
        of_family.map(key).collect()
    };
    sets.push(("servers4", v4(&traffic.servers)));
    sets.push(("servers6", v6(&traffic.servers)));
    let ports: BTreeSet<u16> = traffic.doors.iter().map(SocketAddr::port).collect();
    let ports = ports
        .iter()
        .map(|port| Element::of(port.to_be_bytes().to_vec()));
    sets.push(("edge_ports", ports.collect()));
    sets.push(("doors4", doors(true)));
    sets.push(("doors6", doors(false)));
    let machines = traffic.machines.iter();
    let sources4 = machines.clone().filter_map(|(_, one)| one.source4);
    let sources4 = sources4.map(|(from, to)| Element {
        data: Some(to.octets().to_vec()),
        ..Element::of(from.octets().to_vec())
    });
    sets.push(("egress4", sources4.collect()));
    let sources6 = machines.clone().filter_map(|(_, one)| one.source6);
    let sources6 = sources6.map(|(from, to)| Element {
        data: Some(to.octets().to_vec()),
        ..Element::of(machine_prefix(from).octets().to_vec())
    });
    sets.push(("egress6", sources6.collect()));
    for (names, choose) in [
        (
            OUTBOUND,
            (|one| &one.outbound) as fn(&crate::MachineTraffic) -> &Guard,
        ),
        (INBOUND, |one| &one.inbound),
    ] {
        let mut lists: [Vec<Element>; 5] = Default::default();
        for (machine, one) in machines.clone() {
            let (name, guard) = (name_key(&interface(*machine)), choose(one));
            if guard.only_allowed {
                lists[0].push(Element::of(name.clone()));
            }
            flows::<Ipv4Addr>(&mut lists[1], &name, &guard.allow);
            flows::<Ipv6Addr>(&mut lists[2], &name, &guard.allow);
            flows::<Ipv4Addr>(&mut lists[3], &name, &guard.deny);
            flows::<Ipv6Addr>(&mut lists[4], &name, &guard.deny);
        }
        sets.extend(names.into_iter().zip(lists));
    }
    let mut messages = Vec::new();
    for (set, elements) in &sets {
        // Without a list, the whole set.
        messages.push(
            Message::new(DELETE_ELEMENT, ACK, &HEADER)
                .text(1, table)
                .text(2, set),
        );
        for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let add = Message::new(NEW_ELEMENT, ACK | CREATE, &HEADER);
            messages.push(add.text(1, table).text(2, set).nested(3, |list| {
                some.iter().fold(list, |list, element| element.write(list))
            }));
        }
    }
    batch(socket, messages)
}

/// Attributes of a netlink message have 16 bits for their length; an element has at most 150 bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;

const OUTBOUND: [&str; 5] = [
    "out_guarded",
    "out_allow4",
    "out_allow6",
    "out_deny4",
    "out_deny6",
];
const INBOUND: [&str; 5] = [
    "in_guarded",
    "in_allow4",
    "in_allow6",
    "in_deny4",
    "in_deny6",
];

/// An element of a set or map.
struct Element {
    key: Vec<u8>,
    /// Of a range: its last key.
    last: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
}

impl Element {
    fn of(key: Vec<u8>) -> Element {
        Element {
            key,
            last: None,
            data: None,
        }
    }

    fn write(&self, list: Message) -> Message {
        list.nested(1, |element| {
            let element = element.nested(1, |key| key.attribute(1, &self.key));
            let element = match &self.data {
                Some(data) => element.nested(2, |value| value.attribute(1, data)),
                None => element,
            };
            match &self.last {
                Some(last) => element.nested(10, |key| key.attribute(1, last)),
                None => element,
            }
        })
    }
}

fn flows<A: Address>(list: &mut Vec<Element>, name: &[u8], flows: &[crate::Flow]) {
    for piece in pieces::<A>(flows) {
        let key = |address: A, protocol: u8, port: u16| {
            let mut key = name.to_vec();
            key.extend(address.bytes());
            padded(&mut key, &[protocol]);
            padded(&mut key, &port.to_be_bytes());
            key
        };
        list.push(Element {
            last: Some(key(piece.addresses.1, piece.protocols.1, piece.ports.1)),
            ..Element::of(key(piece.addresses.0, piece.protocols.0, piece.ports.0))
        });
    }
}

/// Fields of a key begin at multiples of four bytes.
fn padded(key: &mut Vec<u8>, field: &[u8]) {
    key.extend(field);
    key.resize(key.len().next_multiple_of(4), 0);
}

fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn element(kind: u16, flags: u16, table: &str, set: &str, key: &[u8]) -> Message {
    Message::new(kind, flags, &HEADER)
        .text(1, table)
        .text(2, set)
        .nested(3, |list| Element::of(key.to_vec()).write(list))
}

pub(crate) fn batch(socket: &mut Socket, messages: Vec<Message>) -> io::Result<()> {
    let mut all = vec![Message::new(BATCH_BEGIN, 0, &BATCH_HEADER)];
    all.extend(messages);
    all.push(Message::new(BATCH_END, 0, &BATCH_HEADER));
    socket.apply(all)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
