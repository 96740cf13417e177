//! The messages that make links, addresses and routes: `rtnetlink(7)`, numbers from `linux/if_link.h` and neighbours.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use mayfly_netlink::{ACK, CREATE, DUMP, EXCL, Message, REPLACE, Socket, attributes, link_header};
pub(crate) use mayfly_netlink::{Link, delete_link, find_link, list_links};
use mayfly_types::IpRange;

const NEW_LINK: u16 = 16;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const LOOPBACK: i32 = 1;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const FLAG_UP: u32 = 1;
const NO_DUPLICATE_DETECTION: u32 = 2;
const ONLINK: u32 = 4;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const LOCAL: u8 = 2;
const UNICAST: u8 = 1;
const UNREACHABLE: u8 = 7;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;

/// A pair of virtual interfaces: `name` here, `peer` in the namespace. Fails if `name` exists.
pub(crate) fn new_pair(name: &str, peer: &str, namespace: BorrowedFd<'_>) -> Message {
    let descriptor = namespace.as_raw_fd().to_ne_bytes();
    Message::new(NEW_LINK, ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, name)
        .nested(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth")
                .nested(IFLA_INFO_DATA, |data| {
                    data.nested(VETH_INFO_PEER, |other| {
                        other
                            .raw(&link_header(0, 0))
                            .text(IFLA_IFNAME, peer)
                            .attribute(IFLA_NET_NS_FD, &descriptor)
                    })
                })
        })
}

/// Gives a link an alias, if there is one, and no address of its own making. It answers for its own addresses only, not
/// for every address of the host as the kernel would otherwise (`arp_ignore`, ip-sysctl).
///
/// To be sent before [`up`]: a change of a link that is up and not yet able to send makes the kernel walk all routes of
/// the namespace (`rt6_sync_down_dev`).
pub(crate) fn settle(index: i32, alias: Option<&str>) -> Message {
    let message =
        Message::new(SET_LINK, ACK, &link_header(index, 0)).nested(IFLA_AF_SPEC, |families| {
            families
                .nested(u16::from(AF_INET), |ipv4| {
                    ipv4.nested(IFLA_INET_CONF, |settings| {
                        settings.attribute(IPV4_DEVCONF_ARP_IGNORE, &1u32.to_ne_bytes())
                    })
                })
                .nested(u16::from(AF_INET6), |ipv6| {
                    ipv6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])
                })
        });
    match alias {
        Some(alias) => message.attribute(IFLA_IFALIAS, alias.as_bytes()),
        None => message,
    }
}

pub(crate) fn set_mtu(index: i32, bytes: u32) -> Message {
    Message::new(SET_LINK, ACK, &link_header(index, 0)).attribute(IFLA_MTU, &bytes.to_ne_bytes())
}

pub(crate) fn up(index: i32) -> Message {
    Message::new(SET_LINK, ACK, &link_header(index, FLAG_UP))
}

pub(crate) fn loopback_up() -> Message {
    up(LOOPBACK)
}

/// An address that is usable at once. Setting it again changes nothing.
pub(crate) fn address(index: i32, address: IpAddr, prefix_length: u8, scope: Scope) -> Message {
    let (family, bytes) = family_and_bytes(address);
    let scope = match scope {
        Scope::Universe => 0,
        Scope::Link => SCOPE_LINK,
    };
    let mut header = vec![family, prefix_length, 0, scope];
    header.extend(index.to_ne_bytes());
    let message = Message::new(NEW_ADDRESS, ACK | CREATE | REPLACE, &header)
        .attribute(1, &bytes)
        .attribute(2, &bytes);
    if family == AF_INET6 {
        message.attribute(8, &NO_DUPLICATE_DETECTION.to_ne_bytes())
    } else {
        message
    }
}

/// An address of the host itself.
pub(crate) fn loopback_address(own: Ipv6Addr) -> Message {
    address(LOOPBACK, IpAddr::V6(own), 128, Scope::Universe)
}

pub(crate) fn delete_loopback_address(own: Ipv6Addr) -> Message {
    delete_address(LOOPBACK, own.into(), 128)
}

pub(crate) fn delete_address(index: i32, address: IpAddr, prefix_length: u8) -> Message {
    let (family, bytes) = family_and_bytes(address);
    let mut header = vec![family, prefix_length, 0, 0];
    header.extend(index.to_ne_bytes());
    Message::new(DELETE_ADDRESS, ACK, &header).attribute(2, &bytes)
}

/// How far an address or a route is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Universe,
    Link,
}

/// A route to one address, directly over a link.
pub(crate) fn route_to(index: i32, destination: IpAddr) -> Message {
    route_over(index, destination.into())
}

/// A route to a range of addresses, directly over a link.
pub(crate) fn route_over(index: i32, range: IpRange) -> Message {
    let (family, bytes) = family_and_bytes(range.first());
    let scope = if family == AF_INET { SCOPE_LINK } else { 0 };
    route(REPLACE, family, range.prefix_length(), scope, UNICAST, 0)
        .attribute(1, &bytes)
        .attribute(4, &index.to_ne_bytes())
}

/// Takes back a [`route_over`].
pub(crate) fn delete_route_over(index: i32, range: IpRange) -> Message {
    let (family, bytes) = family_and_bytes(range.first());
    let scope = if family == AF_INET { SCOPE_LINK } else { 0 };
    let mut header = route_header(family, range.prefix_length(), scope, UNICAST);
    header.extend(0u32.to_ne_bytes());
    Message::new(DELETE_ROUTE, ACK, &header)
        .attribute(1, &bytes)
        .attribute(4, &index.to_ne_bytes())
}

/// The default route through a gateway that is taken to be on the link whatever its address.
pub(crate) fn default_route(index: i32, gateway: IpAddr) -> Message {
    let (family, bytes) = family_and_bytes(gateway);
    route(REPLACE, family, 0, 0, UNICAST, ONLINK)
        .attribute(5, &bytes)
        .attribute(4, &index.to_ne_bytes())
}

/// Has the host speak from this address over a route. Without it the kernel chooses among all of the host, also such as
/// another daemon may take away while a connection uses it.
pub(crate) fn from(route: Message, source: Ipv6Addr) -> Message {
    route.attribute(7, &source.octets())
}

/// A route to a range of addresses by one that is on the link: whoever is there answers for itself only.
pub(crate) fn route_by(index: i32, first: Ipv6Addr, length: u8, gateway: Ipv6Addr) -> Message {
    route(REPLACE, AF_INET6, length, 0, 1, ONLINK)
        .attribute(1, &first.octets())
        .attribute(5, &gateway.octets())
        .attribute(4, &index.to_ne_bytes())
}

/// Makes a whole range of addresses one's own, as often as wished.
pub(crate) fn own(first: Ipv6Addr, length: u8) -> Message {
    local_route(NEW_ROUTE, ACK | CREATE | REPLACE, first.into(), length)
}

/// A route that refuses, so that addresses nobody has are not looked for elsewhere.
///
/// Answered with `AlreadyExists` if there is one.
pub(crate) fn unreachable(destination: Ipv4Addr, prefix_length: u8) -> Message {
    route(EXCL, AF_INET, prefix_length, 0, UNREACHABLE, 0).attribute(1, &destination.octets())
}

pub(crate) fn delete_unreachable(destination: Ipv4Addr, prefix_length: u8) -> Message {
    let mut header = route_header(AF_INET, prefix_length, 0, UNREACHABLE);
    header.extend(0u32.to_ne_bytes());
    Message::new(DELETE_ROUTE, ACK, &header).attribute(1, &destination.octets())
}

/// A route that makes the host answer for a whole range of addresses; `AlreadyExists` if there is one.
pub(crate) fn local(first: IpAddr, prefix_length: u8) -> Message {
    local_route(NEW_ROUTE, ACK | CREATE | EXCL, first, prefix_length)
}

pub(crate) fn delete_local(first: IpAddr, prefix_length: u8) -> Message {
    local_route(DELETE_ROUTE, ACK, first, prefix_length)
}

fn local_route(message: u16, flags: u16, first: IpAddr, prefix_length: u8) -> Message {
    let (family, bytes) = family_and_bytes(first);
    let scope = if family == AF_INET { SCOPE_HOST } else { 0 };
    // Table `local`, protocol `static`.
    let mut header = vec![family, prefix_length, 0, 0, 255, 4, scope, LOCAL];
    header.extend(0u32.to_ne_bytes());
    Message::new(message, flags, &header)
        .attribute(1, &bytes)
        .attribute(4, &1i32.to_ne_bytes())
}

fn route(existing: u16, family: u8, prefix_length: u8, scope: u8, kind: u8, flags: u32) -> Message {
    let mut header = route_header(family, prefix_length, scope, kind);
    header.extend(flags.to_ne_bytes());
    Message::new(NEW_ROUTE, ACK | CREATE | existing, &header)
}

/// The fixed part of a message about routes, but for its flags.
fn route_header(family: u8, prefix_length: u8, scope: u8, kind: u8) -> Vec<u8> {
    vec![
        family,
        prefix_length,
        0,
        0,
        TABLE_MAIN,
        PROTOCOL_STATIC,
        scope,
        kind,
    ]
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// The addresses of a link that are valid everywhere, with the lengths of their prefixes.
pub(crate) fn list_addresses(
    socket: &mut Socket,
    index: i32,
) -> io::Result<BTreeSet<(IpAddr, u8)>> {
    let mut addresses = BTreeSet::new();
    let query = Message::new(GET_ADDRESS, DUMP, &[0; 8]);
    socket.query(query, |_, body| {
        let Some((header, rest)) = body.split_at_checked(8) else {
            return;
        };
        if header[3] == 0 && header[4..8] == index.to_ne_bytes() {
            let address = attributes(rest).find(|(kind, _)| *kind == 1);
            addresses.extend(address.and_then(|(_, bytes)| Some((address_of(bytes)?, header[1]))));
        }
    })?;
    Ok(addresses)
}

/// The routes over a link that were set on purpose.
pub(crate) fn list_routes(socket: &mut Socket, index: i32) -> io::Result<BTreeSet<IpRange>> {
    let mut routes = BTreeSet::new();
    let query = Message::new(GET_ROUTE, DUMP, &[0; 12]);
    socket.query(query, |_, body| {
        let Some((header, rest)) = body.split_at_checked(12) else {
            return;
        };
        let over = attributes(rest).find(|(kind, _)| *kind == 4);
        let ours = header[4] == TABLE_MAIN && header[5] == PROTOCOL_STATIC && header[7] == UNICAST;
        if ours && over.is_some_and(|(_, bytes)| bytes == index.to_ne_bytes()) {
            let to = attributes(rest).find(|(kind, _)| *kind == 1);
            let range = to.and_then(|(_, bytes)| IpRange::new(address_of(bytes)?, header[1]));
            routes.extend(range);
        }
    })?;
    Ok(routes)
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

/// The gateway machines see over IPv6, on every host-side interface.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The gateway machines see over IPv4, on every host-side interface.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
