//! Sockets of a machine's network that are held by the host.
//!
//! The shell door answers port 22 of the machine's private address as long as no program inside listens there itself: a
//! program that binds port 22, at whatever time, gets its connections. A plain listener would keep it from binding, so
//! ours listens on an address and port nobody uses, and a rule in the machine's namespace leads there what nobody else
//! takes.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener};
use std::os::fd::OwnedFd;

use mayfly_netlink::{ACK, CREATE, Message, Socket};
use mayfly_sys::make_transparent;
use mayfly_types::MachineId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tracing::warn;

use crate::firewall::batch;
use crate::mesh::{Mesh, blocking};
use crate::namespace;

const SSH_PORT: u16 = 22;
/// Where the listener really is. No machine has the address, and nothing has used the port for decades.
const HIDDEN: SocketAddrV6 =
    SocketAddrV6::new(Ipv6Addr::new(0xfdaa, 0, 0, 0, 0, 0, 0, 0x16), 1, 0, 0);
const BACKLOG: i32 = 128;

const TABLE: &str = "mayfly_shell";
const CHAIN: &str = "arriving";
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const APPEND: u16 = 0x800;
/// `NFPROTO_IPV6`, and the rest of netfilter's own header.
const HEADER: [u8; 4] = [10, 0, 0, 0];
const FAMILY_IPV6: u32 = 10;
/// Before packets are given to sockets, behind connection tracking: `NF_INET_PRE_ROUTING`, `mangle`.
const PREROUTING: u32 = 0;
const MANGLE: i32 = -150;
const PROTOCOL_TCP: u8 = 6;
const REGISTER_1: u32 = 1;
/// Registers are sixteen bytes long: an address fills the first.
const REGISTER_2: u32 = 2;
const REGISTER_VERDICT: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFT_SOCKET_WILDCARD`: what is asked does not matter, only that there is a socket to ask.
const SOCKET_WILDCARD: u32 = 2;

/// The kind of socket to be had inside a machine's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Mesh {
    /// Opens the shell door of an attached machine, in the place of one an earlier daemon held. It is closed by dropping
    /// the listener, which does not block.
    pub async fn shell_door(
        &self,
        machine: MachineId,
        private_ip: Ipv6Addr,
    ) -> io::Result<TcpListener> {
        let path = self.namespace_path(machine);
        blocking(move || namespace::inside(&path, || open(machine, private_ip))).await
    }

    /// A TCP socket that does not block, not connected yet, of a machine's network.
    pub async fn inner_socket(&self, machine: MachineId, family: Family) -> io::Result<OwnedFd> {
        let path = self.namespace_path(machine);
        let family = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        blocking(move || namespace::inside(&path, || stream_socket(family))).await
    }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn open(machine: MachineId, private_ip: Ipv6Addr) -> io::Result<TcpListener> {
    match lead_here(private_ip).and_then(|()| listener(HIDDEN, true)) {
        Ok(listener) => Ok(listener),
        // A kernel without tproxy: whoever comes first has the port.
        Err(error) => {
            warn!(machine_id = %machine, %error, "the shell door takes port 22 for itself");
            listener(SocketAddrV6::new(private_ip, SSH_PORT, 0, 0), false)
        }
    }
}

fn listener(address: SocketAddrV6, transparent: bool) -> io::Result<TcpListener> {
    let socket = stream_socket(AddressFamily::INET6)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    if transparent {
        make_transparent(&socket)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Leads connections to the SSH port that no socket of the namespace takes to [`HIDDEN`].
fn lead_here(private_ip: Ipv6Addr) -> io::Result<()> {
    let table = |kind| Message::new(kind, ACK | CREATE, &HEADER).text(1, TABLE);
    let chain = Message::new(NEW_CHAIN, ACK | CREATE, &HEADER)
        .text(1, TABLE)
        .text(3, CHAIN)
        .nested(4, |hook| {
            hook.attribute(1, &PREROUTING.to_be_bytes())
                .attribute(2, &MANGLE.to_be_bytes())
        })
        .text(7, "filter");
    let taken = rule(|list| {
        // Without a socket the rule ends here, unmatched.
        let list = expression(to_the_port(list, private_ip), "socket", |data| {
            data.attribute(1, &SOCKET_WILDCARD.to_be_bytes())
                .attribute(2, &REGISTER_1.to_be_bytes())
        });
        expression(list, "immediate", |data| {
            data.attribute(1, &REGISTER_VERDICT.to_be_bytes())
                .nested(2, |value| {
                    value.nested(2, |verdict| verdict.attribute(1, &ACCEPT.to_be_bytes()))
                })
        })
    });
    let led = rule(|list| {
        let list = to_the_port(list, private_ip);
        let list = load(list, REGISTER_1, &HIDDEN.ip().octets());
        let list = load(list, REGISTER_2, &HIDDEN.port().to_be_bytes());
        expression(list, "tproxy", |data| {
            data.attribute(1, &FAMILY_IPV6.to_be_bytes())
                .attribute(2, &REGISTER_1.to_be_bytes())
                .attribute(3, &REGISTER_2.to_be_bytes())
        })
    });
    // Deleting needs something to delete: made first, it may be there or not.
    batch(
        &mut Socket::netfilter()?,
        vec![
            table(NEW_TABLE),
            table(DELETE_TABLE),
            table(NEW_TABLE),
            chain,
            taken,
            led,
        ],
    )
}

fn rule(fill: impl FnOnce(Message) -> Message) -> Message {
    Message::new(NEW_RULE, ACK | CREATE | APPEND, &HEADER)
        .text(1, TABLE)
        .text(2, CHAIN)
        .nested(4, fill)
}

fn expression(list: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    list.nested(1, |element| element.text(1, name).nested(2, fill))
}

/// `meta l4proto tcp ip6 daddr <address> tcp dport 22`.
fn to_the_port(list: Message, private_ip: Ipv6Addr) -> Message {
    const META_L4PROTO: u32 = 16;
    const NETWORK_HEADER: u32 = 1;
    const TRANSPORT_HEADER: u32 = 2;
    let list = expression(list, "meta", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes())
            .attribute(2, &META_L4PROTO.to_be_bytes())
    });
    let list = equals(list, &[PROTOCOL_TCP]);
    let list = payload(list, NETWORK_HEADER, 24, 16);
    let list = equals(list, &private_ip.octets());
    let list = payload(list, TRANSPORT_HEADER, 2, 2);
    equals(list, &SSH_PORT.to_be_bytes())
}

fn payload(list: Message, base: u32, offset: u32, length: u32) -> Message {
    expression(list, "payload", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes())
            .attribute(2, &base.to_be_bytes())
            .attribute(3, &offset.to_be_bytes())
            .attribute(4, &length.to_be_bytes())
    })
}

fn equals(list: Message, value: &[u8]) -> Message {
    const EQUAL: u32 = 0;
    expression(list, "cmp", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes())
            .attribute(2, &EQUAL.to_be_bytes())
            .nested(3, |bytes| bytes.attribute(1, value))
    })
}

fn load(list: Message, register: u32, value: &[u8]) -> Message {
    expression(list, "immediate", |data| {
        data.attribute(1, &register.to_be_bytes())
            .nested(2, |bytes| bytes.attribute(1, value))
    })
}
