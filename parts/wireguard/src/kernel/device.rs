//! What the kernel says of a link, message by message: `WG_CMD_GET_DEVICE` of `linux/wireguard.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mayfly_netlink::attributes;
use mayfly_types::{IpRange, PeerKey, Timestamp};

const DEVICE_LISTEN_PORT: u16 = 6;
const DEVICE_PEERS: u16 = 8;

const PEER_PUBLIC_KEY: u16 = 1;
const PEER_PRESHARED_KEY: u16 = 2;
const PEER_ENDPOINT: u16 = 4;
const PEER_KEEPALIVE: u16 = 5;
const PEER_LAST_HANDSHAKE: u16 = 6;
const PEER_RX_BYTES: u16 = 7;
const PEER_TX_BYTES: u16 = 8;
const PEER_ALLOWED_IPS: u16 = 9;

const ALLOWED_IP_ADDRESS: u16 = 2;
const ALLOWED_IP_PREFIX_LENGTH: u16 = 3;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A link as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Where it listens; 0 if it never did.
    pub(super) port: u16,
    pub(super) peers: Vec<PresentPeer>,
}

/// A peer as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PresentPeer {
    pub(super) public_key: PeerKey,
    /// Zeroes are none.
    pub(super) preshared_key: [u8; 32],
    pub(super) endpoint: Option<SocketAddr>,
    /// 0 is none.
    pub(super) keepalive_seconds: u16,
    pub(super) last_handshake: Option<Timestamp>,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    pub(super) allowed_ips: Vec<IpRange>,
}

impl Device {
    /// Takes one message of the answer, what follows its generic header. A peer with many ranges goes on in the next
    /// message.
    pub(super) fn take(&mut self, message: &[u8]) {
        for (kind, value) in attributes(message) {
            match kind {
                DEVICE_LISTEN_PORT => self.port = number(value).unwrap_or_default(),
                DEVICE_PEERS => {
                    for (_, peer) in attributes(value) {
                        self.add(PresentPeer::read(peer));
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, peer: Option<PresentPeer>) {
        let Some(peer) = peer else { return };
        match self.peers.last_mut() {
            Some(last) if last.public_key == peer.public_key => {
                last.allowed_ips.extend(peer.allowed_ips);
            }
            _ => self.peers.push(peer),
        }
    }
}

impl PresentPeer {
    pub(super) fn new(public_key: PeerKey) -> PresentPeer {
        PresentPeer {
            public_key,
            preshared_key: [0; 32],
            endpoint: None,
            keepalive_seconds: 0,
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            allowed_ips: Vec::new(),
        }
    }

    /// How long ago the keys in use were agreed on.
    pub(super) fn handshake_age(&self, now: Timestamp) -> Option<Duration> {
        self.last_handshake.map(|at| now.since(at))
    }

    fn read(bytes: &[u8]) -> Option<PresentPeer> {
        let (_, key) = attributes(bytes).find(|(kind, _)| *kind == PEER_PUBLIC_KEY)?;
        let mut peer = PresentPeer::new(PeerKey::from_bytes(key.try_into().ok()?));
        for (kind, value) in attributes(bytes) {
            match kind {
                PEER_PRESHARED_KEY => peer.preshared_key = value.try_into().ok()?,
                PEER_ENDPOINT => peer.endpoint = socket_address(value),
                PEER_KEEPALIVE => peer.keepalive_seconds = number(value)?,
                PEER_LAST_HANDSHAKE => peer.last_handshake = moment(value),
                PEER_RX_BYTES => peer.rx_bytes = u64::from_ne_bytes(value.try_into().ok()?),
                PEER_TX_BYTES => peer.tx_bytes = u64::from_ne_bytes(value.try_into().ok()?),
                PEER_ALLOWED_IPS => {
                    peer.allowed_ips
                        .extend(attributes(value).filter_map(|(_, range)| read_range(range)));
                }
                _ => {}
            }
        }
        Some(peer)
    }
}

fn read_range(bytes: &[u8]) -> Option<IpRange> {
    let find = |wanted| attributes(bytes).find(|(kind, _)| *kind == wanted);
    let (_, address) = find(ALLOWED_IP_ADDRESS)?;
    let (_, length) = find(ALLOWED_IP_PREFIX_LENGTH)?;
    let address: IpAddr = match address.len() {
        4 => <[u8; 4]>::try_from(address).ok()?.into(),
        _ => <[u8; 16]>::try_from(address).ok()?.into(),
    };
    IpRange::new(address, *length.first()?)
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

/// `struct __kernel_timespec`; zero is never.
fn moment(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, nanoseconds) = bytes.split_at_checked(8)?;
    let seconds = i64::from_ne_bytes(seconds.try_into().ok()?);
    let nanoseconds = i64::from_ne_bytes(nanoseconds.try_into().ok()?);
    let millis = seconds.checked_mul(1000)? + nanoseconds / 1_000_000;
    (millis != 0).then(|| Timestamp::from_millis(millis))
}

/// Reads a `struct sockaddr_in` or `sockaddr_in6`.
fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port))
        }
        AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}

/// Writes a `struct sockaddr_in` or `sockaddr_in6`.
pub(super) fn socket_address_bytes(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    match address {
        SocketAddr::V4(address) => {
            bytes.extend(AF_INET.to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(address) => {
            bytes.extend(AF_INET6.to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// `WGALLOWEDIP_A_FAMILY`, its address and the length of its prefix.
pub(super) fn range_parts(range: IpRange) -> (u16, Vec<u8>, u8) {
    let (family, bytes) = match range.first() {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    (family, bytes, range.prefix_length())
}
