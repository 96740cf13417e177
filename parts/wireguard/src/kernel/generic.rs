//! The family `wireguard` of generic netlink: `linux/genetlink.h`, `linux/wireguard.h`.

use std::io;

use mayfly_netlink::{ACK, DUMP, Message, Socket, attributes};

use super::device::{Device, range_parts, socket_address_bytes};
use super::plan::{Change, PeerChange};
use crate::key::PrivateKey;

const FAMILY: &str = "wireguard";
const VERSION: u8 = 1;
/// `GENL_ID_CTRL`, which names the others.
const CONTROL: u16 = 16;
const CONTROL_VERSION: u8 = 1;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;

const GET_DEVICE: u8 = 0;
const SET_DEVICE: u8 = 1;

const DEVICE_INDEX: u16 = 1;
const DEVICE_NAME: u16 = 2;
const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_LISTEN_PORT: u16 = 6;
const DEVICE_PEERS: u16 = 8;

const PEER_PUBLIC_KEY: u16 = 1;
const PEER_PRESHARED_KEY: u16 = 2;
const PEER_FLAGS: u16 = 3;
const PEER_ENDPOINT: u16 = 4;
const PEER_KEEPALIVE: u16 = 5;
const PEER_ALLOWED_IPS: u16 = 9;
const REMOVE_ME: u32 = 1;
const REPLACE_ALLOWED_IPS: u32 = 2;
const UPDATE_ONLY: u32 = 4;

const ALLOWED_IP_FAMILY: u16 = 1;
const ALLOWED_IP_ADDRESS: u16 = 2;
const ALLOWED_IP_PREFIX_LENGTH: u16 = 3;

/// Lists carry the kind of their elements nowhere.
const ELEMENT: u16 = 0;

/// An attribute has 16 bits for its length, and so has the list of all peers of one message.
const MESSAGE_BYTES: usize = 16 * 1024;
/// What a peer takes at most without its ranges, and what each of those does.
const PEER_BYTES: usize = 136;
const RANGE_BYTES: usize = 40;
const RANGES_AT_ONCE: usize = 256;

/// A socket of the family.
pub(super) struct Generic {
    socket: Socket,
    family: u16,
}

impl Generic {
    /// # Errors
    /// `NotFound` if the kernel has no WireGuard.
    pub(super) fn open() -> io::Result<Generic> {
        let mut socket = Socket::generic()?;
        let mut family = None;
        let header = [GET_FAMILY, CONTROL_VERSION, 0, 0];
        let question = Message::new(CONTROL, 0, &header).text(FAMILY_NAME, FAMILY);
        socket.query(question, |_, body| {
            let body = body.get(GENERIC_HEADER..).unwrap_or_default();
            let id = attributes(body).find(|(kind, _)| *kind == FAMILY_ID);
            family = id.and_then(|(_, id)| Some(u16::from_ne_bytes(id.try_into().ok()?)));
        })?;
        let family = family.ok_or(io::ErrorKind::NotFound)?;
        Ok(Generic { socket, family })
    }

    pub(super) fn device(&mut self, name: &str) -> io::Result<Device> {
        let mut device = Device::default();
        let header = [GET_DEVICE, VERSION, 0, 0];
        let question = Message::new(self.family, DUMP, &header).text(DEVICE_NAME, name);
        self.socket.query(question, |_, body| {
            device.take(body.get(GENERIC_HEADER..).unwrap_or_default());
        })?;
        Ok(device)
    }

    /// What is so already stays untouched, with all sessions.
    pub(super) fn set_device(
        &mut self,
        index: i32,
        private_key: &PrivateKey,
        port: u16,
    ) -> io::Result<()> {
        let message = change_of(self.family, index)
            .attribute(DEVICE_PRIVATE_KEY, &private_key.bytes())
            .attribute(DEVICE_LISTEN_PORT, &port.to_ne_bytes());
        self.socket.send_one(message)
    }

    /// Does all changes in their order, or the first of them if one fails.
    pub(super) fn apply(&mut self, index: i32, changes: &[Change]) -> io::Result<()> {
        for message in messages(self.family, index, changes) {
            self.socket.send_one(message)?;
        }
        Ok(())
    }
}

fn change_of(family: u16, index: i32) -> Message {
    Message::new(family, ACK, &[SET_DEVICE, VERSION, 0, 0])
        .attribute(DEVICE_INDEX, &index.to_ne_bytes())
}

/// The changes in as few messages as the kernel takes; a peer with many ranges is told in several pieces.
fn messages(family: u16, index: i32, changes: &[Change]) -> Vec<Message> {
    let pieces: Vec<Change> = changes.iter().flat_map(pieces).collect();
    let mut messages = Vec::new();
    let mut rest = &pieces[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|piece| {
            bytes += size(piece);
            bytes <= MESSAGE_BYTES
        });
        let (now, later) = rest.split_at(fitting.count());
        let message = change_of(family, index).nested(DEVICE_PEERS, |list| {
            now.iter().fold(list, |list, piece| {
                list.nested(ELEMENT, |peer| write(peer, piece))
            })
        });
        messages.push(message);
        rest = later;
    }
    messages
}

fn pieces(change: &Change) -> Vec<Change> {
    let Change::Set(peer) = change else {
        return vec![change.clone()];
    };
    if peer.allowed_ips.len() <= RANGES_AT_ONCE {
        return vec![change.clone()];
    }
    let mut pieces: Vec<Change> = Vec::new();
    for some in peer.allowed_ips.chunks(RANGES_AT_ONCE) {
        let piece = match pieces.is_empty() {
            true => peer.clone(),
            false => PeerChange::more_ranges(peer.public_key),
        };
        pieces.push(Change::Set(PeerChange {
            allowed_ips: some.to_vec(),
            ..piece
        }));
    }
    pieces
}

fn size(piece: &Change) -> usize {
    match piece {
        Change::Remove(_) => PEER_BYTES,
        Change::Set(peer) => PEER_BYTES + RANGE_BYTES * peer.allowed_ips.len(),
    }
}

fn write(message: Message, piece: &Change) -> Message {
    let peer = match piece {
        Change::Remove(key) => {
            return message
                .attribute(PEER_PUBLIC_KEY, key.as_bytes())
                .attribute(PEER_FLAGS, &REMOVE_ME.to_ne_bytes());
        }
        Change::Set(peer) => peer,
    };
    let mut flags = 0;
    if peer.replaces_ranges {
        flags |= REPLACE_ALLOWED_IPS;
    }
    if peer.only_if_present {
        flags |= UPDATE_ONLY;
    }
    let mut message = message
        .attribute(PEER_PUBLIC_KEY, peer.public_key.as_bytes())
        .attribute(PEER_FLAGS, &flags.to_ne_bytes());
    if let Some(key) = peer.preshared_key {
        message = message.attribute(PEER_PRESHARED_KEY, &key);
    }
    if let Some(endpoint) = peer.endpoint {
        message = message.attribute(PEER_ENDPOINT, &socket_address_bytes(endpoint));
    }
    if let Some(seconds) = peer.keepalive_seconds {
        message = message.attribute(PEER_KEEPALIVE, &seconds.to_ne_bytes());
    }
    if peer.allowed_ips.is_empty() {
        return message;
    }
    message.nested(PEER_ALLOWED_IPS, |list| {
        peer.allowed_ips.iter().fold(list, |list, range| {
            let (family, address, prefix_length) = range_parts(*range);
            list.nested(ELEMENT, |one| {
                one.attribute(ALLOWED_IP_FAMILY, &family.to_ne_bytes())
                    .attribute(ALLOWED_IP_ADDRESS, &address)
                    .attribute(ALLOWED_IP_PREFIX_LENGTH, &[prefix_length])
            })
        })
    })
}

#[cfg(test)]
mod tests;
