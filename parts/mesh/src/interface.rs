use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use mayfly_netlink::Socket;
use mayfly_types::IpRange;

use crate::MeshError;
use crate::route;

/// What the kernel shall know of an interface that somebody else made: a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceShape {
    pub name: String,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Addresses of this host on it, each without neighbours.
    pub addresses: BTreeSet<IpAddr>,
    /// What is reached through it.
    pub routes: BTreeSet<IpRange>,
}

/// Brings an interface of the caller's network namespace up in exactly this shape; other addresses and routes of it go.
/// May be repeated; what is right stays untouched. Blocking.
///
/// # Errors
/// `MeshError::Interface` if there is no such interface or the kernel refuses something; the rest is tried again by the
/// next call.
pub fn shape_interface(shape: &InterfaceShape) -> Result<(), MeshError> {
    shape_now(shape).map_err(|source| MeshError::Interface {
        name: shape.name.clone(),
        source,
    })
}

/// What is reached through an interface now. Blocking.
///
/// # Errors
/// As of [`shape_interface`].
pub fn interface_routes(name: &str) -> Result<BTreeSet<IpRange>, MeshError> {
    let list = || {
        let mut socket = Socket::route()?;
        let link = route::find_link(&mut socket, name)?.ok_or(io::ErrorKind::NotFound)?;
        route::list_routes(&mut socket, link.index)
    };
    list().map_err(|source| MeshError::Interface {
        name: name.to_owned(),
        source,
    })
}

fn shape_now(shape: &InterfaceShape) -> io::Result<()> {
    let mut socket = Socket::route()?;
    let link = route::find_link(&mut socket, &shape.name)?.ok_or(io::ErrorKind::NotFound)?;
    let index = link.index;
    let off = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", shape.name);
    if fs::read_to_string(&off).is_ok_and(|value| value.trim() == "1") {
        fs::write(&off, "0")?;
    }
    socket.apply(vec![
        route::set_mtu(index, shape.mtu),
        route::settle(index, None),
        route::up(index),
    ])?;
    let wanted: BTreeSet<(IpAddr, u8)> = shape
        .addresses
        .iter()
        .map(|address| (*address, IpRange::from(*address).prefix_length()))
        .collect();
    let addresses = route::list_addresses(&mut socket, index)?;
    let routes = route::list_routes(&mut socket, index)?;
    let mut gone = Vec::new();
    for (address, length) in addresses.difference(&wanted) {
        gone.push(route::delete_address(index, *address, *length));
    }
    for range in routes.difference(&shape.routes) {
        gone.push(route::delete_route_over(index, *range));
    }
    for answer in socket.send_all(gone)? {
        match answer {
            // With an address the kernel takes away what needs it.
            Err(error) if is_absent(&error) => {}
            other => other?,
        }
    }
    let routes = route::list_routes(&mut socket, index)?;
    let mut new = Vec::new();
    for (address, length) in wanted.difference(&addresses) {
        let scope = route::Scope::Universe;
        new.push(route::address(index, *address, *length, scope));
    }
    for range in shape.routes.difference(&routes) {
        new.push(route::route_over(index, *range));
    }
    socket.apply(new)
}

fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::SRCH, Errno::ADDRNOTAVAIL, Errno::NOENT]
        .iter()
        .any(|absent| error.raw_os_error() == Some(absent.raw_os_error()))
}
