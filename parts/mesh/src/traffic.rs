//! What is allowed and rewritten beyond the private network itself: policies, the addresses traffic leaves by, and the
//! public addresses of this host, and of other servers, that machines may use like everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mayfly_types::{IpRange, MachineId};

/// The wish of the control plane for all machines of this host, as a whole. What is not in it is not enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub machines: BTreeMap<MachineId, MachineTraffic>,
    /// Addresses of apps that everybody reaches, where a listener is bound to the address itself.
    pub public: BTreeSet<IpAddr>,
    /// Listeners of this host that everybody reaches.
    pub doors: BTreeSet<SocketAddr>,
    /// The fleet's other servers. Machines reach them at the ports of [`doors`](Traffic::doors) only.
    pub servers: BTreeSet<IpAddr>,
    /// Addresses that traffic may leave by, of this host whether in use or not.
    pub outward: BTreeSet<IpAddr>,
}

/// One machine's part of [`Traffic`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineTraffic {
    /// Whom its packets leave as; `None` is the host.
    pub source4: Option<(Ipv4Addr, Ipv4Addr)>,
    pub source6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// What it may begin, and what others may begin towards it.
    pub outbound: Guard,
    pub inbound: Guard,
}

/// One direction of a machine's traffic. What is denied is dropped; what is not allowed is dropped if `only_allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    pub only_allowed: bool,
    pub allow: Vec<Flow>,
    pub deny: Vec<Flow>,
}

/// Packets by the other side's address, protocol and destination port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub range: IpRange,
    /// IP protocol numbers, both included.
    pub protocols: (u8, u8),
    /// Both included. For protocols without ports anything but all of them means nothing.
    pub ports: (u16, u16),
}

impl Flow {
    pub const ALL_PROTOCOLS: (u8, u8) = (0, u8::MAX);
    pub const ALL_PORTS: (u16, u16) = (0, u16::MAX);
}

/// Part of a flow as the firewall's sets hold it. Two of one list have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<A> {
    pub(crate) addresses: (A, A),
    pub(crate) protocols: (u8, u8),
    pub(crate) ports: (u16, u16),
}

/// The same flows, of one family, without overlap: the kernel refuses elements that overlap.
pub(crate) fn pieces<A: Address>(flows: &[Flow]) -> Vec<Piece<A>> {
    let flows: Vec<Piece<A>> = flows
        .iter()
        .filter_map(|flow| {
            Some(Piece {
                addresses: A::range(&flow.range)?,
                protocols: flow.protocols,
                ports: flow.ports,
            })
        })
        .collect();
    let mut pieces = Vec::new();
    for protocols in cut(
        &flows,
        |flow| flow.protocols,
        u8::checked_add,
        u8::checked_sub,
    ) {
        let among: Vec<Piece<A>> = flows
            .iter()
            .filter(|flow| covers(flow.protocols, protocols))
            .copied()
            .collect();
        for ports in cut(
            &among,
            |flow| flow.ports,
            u16::checked_add,
            u16::checked_sub,
        ) {
            let mut ranges: Vec<(A, A)> = among
                .iter()
                .filter(|flow| covers(flow.ports, ports))
                .map(|flow| flow.addresses)
                .collect();
            ranges.sort_unstable();
            let mut merged: Vec<(A, A)> = Vec::new();
            for (first, last) in ranges {
                match merged.last_mut() {
                    Some((_, end)) if first <= *end => *end = last.max(*end),
                    _ => merged.push((first, last)),
                }
            }
            pieces.extend(merged.into_iter().map(|addresses| Piece {
                addresses,
                protocols,
                ports,
            }));
        }
    }
    pieces
}

fn covers<T: Ord>(outer: (T, T), inner: (T, T)) -> bool {
    outer.0 <= inner.0 && inner.1 <= outer.1
}

/// The stretches between all ends of the flows' ranges; stretches that no flow covers may be among them.
fn cut<A, T: Copy + Ord + From<u8>>(
    flows: &[Piece<A>],
    range: impl Fn(&Piece<A>) -> (T, T),
    add: impl Fn(T, T) -> Option<T>,
    subtract: impl Fn(T, T) -> Option<T>,
) -> Vec<(T, T)> {
    let one = T::from(1);
    let mut starts = BTreeSet::new();
    let mut highest = None;
    for flow in flows {
        let (first, last) = range(flow);
        starts.insert(first);
        starts.extend(add(last, one));
        highest = highest.max(Some(last));
    }
    let Some(highest) = highest else {
        return Vec::new();
    };
    let starts: Vec<T> = starts
        .into_iter()
        .filter(|start| *start <= highest)
        .collect();
    starts
        .iter()
        .enumerate()
        .map(|(index, start)| {
            let end = starts.get(index + 1).and_then(|next| subtract(*next, one));
            (*start, end.unwrap_or(highest))
        })
        .collect()
}

/// An address of one family, whose order is that of its bytes.
pub(crate) trait Address: Copy + Ord {
    fn range(range: &IpRange) -> Option<(Self, Self)>;
    fn bytes(self) -> Vec<u8>;
}

impl Address for Ipv4Addr {
    fn range(range: &IpRange) -> Option<(Self, Self)> {
        let IpAddr::V4(first) = range.first() else {
            return None;
        };
        let rest = u32::MAX
            .checked_shr(range.prefix_length().into())
            .unwrap_or(0);
        Some((first, Ipv4Addr::from_bits(first.to_bits() | rest)))
    }

    fn bytes(self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

impl Address for Ipv6Addr {
    fn range(range: &IpRange) -> Option<(Self, Self)> {
        let IpAddr::V6(first) = range.first() else {
            return None;
        };
        let rest = u128::MAX
            .checked_shr(range.prefix_length().into())
            .unwrap_or(0);
        Some((first, Ipv6Addr::from_bits(first.to_bits() | rest)))
    }

    fn bytes(self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(range: &str, protocols: (u8, u8), ports: (u16, u16)) -> Flow {
        Flow {
            range: range.parse().unwrap(),
            protocols,
            ports,
        }
    }

    #[test]
    fn pieces_say_the_same_and_do_not_overlap() {
        let flows = [
            flow("0.0.0.0/0", (6, 6), (80, 80)),
            flow("10.0.0.0/8", Flow::ALL_PROTOCOLS, Flow::ALL_PORTS),
            flow("10.1.0.0/16", (6, 6), (1, 1000)),
            flow("10.0.0.0/8", (17, 17), (53, 53)),
            flow("192.0.2.1/32", (17, 17), Flow::ALL_PORTS),
            flow("::/0", (6, 6), (1, 2)),
        ];
        let pieces = pieces::<Ipv4Addr>(&flows);
        let within = |address: Ipv4Addr, protocol: u8, port: u16| {
            pieces
                .iter()
                .filter(|piece| {
                    covers(piece.addresses, (address, address))
                        && covers(piece.protocols, (protocol, protocol))
                        && covers(piece.ports, (port, port))
                })
                .count()
        };
        for address in [
            "9.9.9.9",
            "10.0.0.1",
            "10.1.2.3",
            "192.0.2.1",
            "192.0.2.2",
            "255.255.255.255",
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            for protocol in [0, 1, 6, 17, 47, 255] {
                for port in [0, 1, 53, 79, 80, 81, 1000, 1001, u16::MAX] {
                    let wanted = flows.iter().any(|flow| {
                        flow.range.contains(address.into())
                            && covers(flow.protocols, (protocol, protocol))
                            && covers(flow.ports, (port, port))
                    });
                    let found = within(address, protocol, port);
                    assert_eq!(found, usize::from(wanted), "{address} {protocol} {port}");
                }
            }
        }
        assert!(super::pieces::<Ipv6Addr>(&flows).len() == 1);
        assert!(super::pieces::<Ipv6Addr>(&[]).is_empty());
    }
}
