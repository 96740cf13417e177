use std::io;

use crate::message::{ACK, CREATE, DUMP, EXCL, Message, attributes};
use crate::socket::Socket;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;

const IFLA_IFNAME: u16 = 3;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;

const OPERSTATE_UP: u8 = 6;
const FLAG_UP: u32 = 1;
const ENODEV: i32 = 19;

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: i32,
    pub name: String,
    pub alias: String,
    /// Up at both ends and able to send.
    pub operational: bool,
    /// What made it: `veth`, `tun`, `wireguard`; empty for devices.
    pub kind: String,
}

/// `struct ifinfomsg`, with flags to be set. Index 0 for none.
pub fn link_header(index: i32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// A link of a kind that needs nothing else to be made; the kernel loads the kind's module. Fails if `name` exists.
pub fn new_link(name: &str, kind: &str) -> Message {
    Message::new(NEW_LINK, ACK | CREATE | EXCL, &link_header(0, 0))
        .text(IFLA_IFNAME, name)
        .nested(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, kind))
}

pub fn set_link_up(index: i32) -> Message {
    Message::new(SET_LINK, ACK, &link_header(index, FLAG_UP))
}

pub fn delete_link(index: i32) -> Message {
    Message::new(DELETE_LINK, ACK, &link_header(index, 0))
}

/// The link called `name`; `None` if there is none.
pub fn find_link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let mut found = None;
    let query = Message::new(GET_LINK, 0, &link_header(0, 0)).text(IFLA_IFNAME, name);
    match socket.query(query, |_, body| found = parse_link(body)) {
        Ok(()) => Ok(found),
        Err(error) if error.raw_os_error() == Some(ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every link whose name begins with `prefix`.
pub fn list_links(socket: &mut Socket, prefix: &str) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    let query = Message::new(GET_LINK, DUMP, &link_header(0, 0));
    socket.query(query, |_, body| {
        links.extend(parse_link(body).filter(|link| link.name.starts_with(prefix)));
    })?;
    Ok(links)
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let index = i32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let mut link = Link {
        index,
        name: String::new(),
        alias: String::new(),
        operational: false,
        kind: String::new(),
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = kind.map(|(_, value)| text(value)).unwrap_or_default();
            }
            IFLA_OPERSTATE => link.operational = value == [OPERSTATE_UP],
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}
