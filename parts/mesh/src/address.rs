use std::net::{Ipv4Addr, Ipv6Addr};

use mayfly_types::{HostId, NetworkId};
use serde::{Deserialize, Serialize};

/// The private address of a machine: `fdaa`, 32 bits of network, 32 of host, 32 of machine, then 2.
///
/// `number` is the host's own count of machines; it must not be given twice while the first holder exists.
pub fn private_ip(network: NetworkId, host: HostId, number: u32) -> Ipv6Addr {
    let host = u32::from_str_radix(host.as_str(), 16).expect("a host id is 8 hexadecimal digits");
    let bits = (0xfdaa_u128 << 112)
        | (u128::from(network.0) << 80)
        | (u128::from(host) << 48)
        | (u128::from(number) << 16)
        | 2;
    Ipv6Addr::from_bits(bits)
}

/// The part of an address that all machines of one network share, as a key of the firewall's sets: 48 bits.
pub(crate) fn network_prefix(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80))
}

/// The part that all addresses of one machine share: 112 bits.
pub(crate) fn machine_prefix(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> 16 << 16)
}

/// Bits of [`machine_prefix`].
pub(crate) const MACHINE_PREFIX_LENGTH: u8 = 112;

/// Where machines find the API, at `_api.internal`.
pub const API_PORT: u16 = 4280;

/// The IPv4 addresses one daemon gives to its machines: outbound traffic is translated, nobody else sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Pool {
    first: Ipv4Addr,
}

impl Ipv4Pool {
    /// Prefix length of a pool: 16,382 machines.
    pub const PREFIX_LENGTH: u8 = 18;
    /// Pools that fit into 100.64.0.0/10, the space set aside for translation (RFC 6598).
    pub(crate) const COUNT: u32 = 1 << (Self::PREFIX_LENGTH - 10);
    const SIZE: u32 = 1 << (32 - Self::PREFIX_LENGTH);

    /// Pool number `index` modulo [`Ipv4Pool::COUNT`].
    pub fn numbered(index: u32) -> Ipv4Pool {
        let space = Ipv4Addr::new(100, 64, 0, 0).to_bits();
        Ipv4Pool {
            first: Ipv4Addr::from_bits(space + index % Self::COUNT * Self::SIZE),
        }
    }

    /// The network address.
    pub fn first(&self) -> Ipv4Addr {
        self.first
    }

    /// Address number `index`, counted from 0; `None` when the pool has no such address.
    pub fn nth(&self, index: u32) -> Option<Ipv4Addr> {
        (index < Self::SIZE - 2).then(|| Ipv4Addr::from_bits(self.first.to_bits() + 1 + index))
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & !(Self::SIZE - 1) == self.first.to_bits()
    }
}

impl std::fmt::Display for Ipv4Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, Self::PREFIX_LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_hold_network_host_and_machine() {
        let host = HostId::from_random([0xa, 0xb, 0xc, 0xd, 1, 2, 3, 4]);
        let address = private_ip(NetworkId(0x0102_0304), host, 0x11_0022);
        assert_eq!(address.to_string(), "fdaa:102:304:abcd:1234:11:22:2");
        assert_eq!(network_prefix(address).to_string(), "fdaa:102:304::");
    }

    #[test]
    fn pools_are_disjoint_and_end() {
        let (first, second) = (Ipv4Pool::numbered(0), Ipv4Pool::numbered(1));
        assert_eq!(first.to_string(), "100.64.0.0/18");
        assert_eq!(first.nth(0), Some(Ipv4Addr::new(100, 64, 0, 1)));
        let last = first.nth(16_381).unwrap();
        assert_eq!(last, Ipv4Addr::new(100, 64, 63, 254));
        assert!(first.contains(last) && !second.contains(last));
        assert_eq!(first.nth(16_382), None);
        let end = Ipv4Pool::numbered(Ipv4Pool::COUNT - 1);
        assert_eq!(end.nth(16_381), Some(Ipv4Addr::new(100, 127, 255, 254)));
        assert_eq!(Ipv4Pool::numbered(Ipv4Pool::COUNT), first);
    }
}
