//! What is to be changed so that the kernel's peers are the wanted ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use mayfly_types::{IpRange, PeerKey, Timestamp};

use super::device::PresentPeer;
use crate::peer::PeerConfig;

/// Keys older than this are not used any more: `REJECT_AFTER_TIME` of the protocol.
const SESSION: Duration = Duration::from_secs(180);

/// One change of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Remove(PeerKey),
    Set(PeerChange),
}

/// What is told of a peer; what is not stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerChange {
    pub(super) public_key: PeerKey,
    pub(super) preshared_key: Option<[u8; 32]>,
    pub(super) endpoint: Option<SocketAddr>,
    /// 0 switches it off.
    pub(super) keepalive_seconds: Option<u16>,
    /// Whether the ranges are all there shall be, or some more.
    pub(super) replaces_ranges: bool,
    /// Nothing is made if the peer is not there.
    pub(super) only_if_present: bool,
    pub(super) allowed_ips: Vec<IpRange>,
}

impl PeerChange {
    fn nothing(public_key: PeerKey) -> PeerChange {
        PeerChange {
            public_key,
            preshared_key: None,
            endpoint: None,
            keepalive_seconds: None,
            replaces_ranges: false,
            only_if_present: true,
            allowed_ips: Vec::new(),
        }
    }

    pub(super) fn keepalive(public_key: PeerKey, seconds: u16) -> PeerChange {
        PeerChange {
            keepalive_seconds: Some(seconds),
            ..PeerChange::nothing(public_key)
        }
    }

    /// Further ranges of a peer that was just told of.
    pub(super) fn more_ranges(public_key: PeerKey) -> PeerChange {
        PeerChange::nothing(public_key)
    }
}

/// `asked` is where each peer was wanted when that was last told to the kernel. Whoever goes, goes first.
pub(super) fn plan(
    wanted: &[PeerConfig],
    present: &[PresentPeer],
    asked: &BTreeMap<PeerKey, Option<SocketAddr>>,
    now: Timestamp,
) -> Vec<Change> {
    let present: BTreeMap<PeerKey, &PresentPeer> =
        present.iter().map(|peer| (peer.public_key, peer)).collect();
    let (mut gone, mut set) = (Vec::new(), Vec::new());
    let named: BTreeSet<PeerKey> = wanted.iter().map(|peer| peer.public_key).collect();
    gone.extend(present.keys().filter(|key| !named.contains(*key)));
    let ranges = ranges_of(wanted);
    for peer in wanted {
        let key = peer.public_key;
        let ranges = ranges.get(&key).cloned().unwrap_or_default();
        match present.get(&key) {
            Some(known) if known.preshared_key == preshared_key(peer) => {
                set.extend(adapt(peer, ranges, known, asked.get(&key), now));
            }
            Some(_) => {
                // Keys in use were agreed on with another secret.
                gone.push(key);
                set.push(whole(peer, ranges));
            }
            None => set.push(whole(peer, ranges)),
        }
    }
    let gone = gone.into_iter().map(Change::Remove);
    gone.chain(set.into_iter().map(Change::Set)).collect()
}

/// A range that two peers name belongs to the later one.
fn ranges_of(wanted: &[PeerConfig]) -> BTreeMap<PeerKey, BTreeSet<IpRange>> {
    let mut owners: BTreeMap<IpRange, PeerKey> = BTreeMap::new();
    for peer in wanted {
        owners.extend(
            peer.allowed_ips
                .iter()
                .map(|range| (*range, peer.public_key)),
        );
    }
    let mut ranges: BTreeMap<PeerKey, BTreeSet<IpRange>> = BTreeMap::new();
    for (range, key) in owners {
        ranges.entry(key).or_default().insert(range);
    }
    ranges
}

fn whole(peer: &PeerConfig, ranges: BTreeSet<IpRange>) -> PeerChange {
    PeerChange {
        public_key: peer.public_key,
        preshared_key: Some(preshared_key(peer)),
        endpoint: canonical(peer.endpoint),
        keepalive_seconds: Some(keepalive_seconds(peer)),
        replaces_ranges: true,
        only_if_present: false,
        allowed_ips: ranges.into_iter().collect(),
    }
}

/// What differs of a peer that stays; `None` if nothing does.
fn adapt(
    peer: &PeerConfig,
    ranges: BTreeSet<IpRange>,
    known: &PresentPeer,
    asked: Option<&Option<SocketAddr>>,
    now: Timestamp,
) -> Option<PeerChange> {
    let has: BTreeSet<IpRange> = known.allowed_ips.iter().copied().collect();
    let moved = match asked {
        Some(before) => *before != peer.endpoint,
        // Left by an earlier process: where a living session is, the peer is.
        None => {
            let living = known.handshake_age(now).is_some_and(|age| age < SESSION);
            known.endpoint.is_none() || !living
        }
    };
    let replaces_ranges = !has.is_subset(&ranges);
    let allowed_ips = match replaces_ranges {
        true => ranges.into_iter().collect(),
        false => ranges.difference(&has).copied().collect(),
    };
    let keepalive = keepalive_seconds(peer);
    let change = PeerChange {
        endpoint: canonical(peer.endpoint).filter(|_| moved),
        keepalive_seconds: (keepalive != known.keepalive_seconds).then_some(keepalive),
        replaces_ranges,
        allowed_ips,
        ..PeerChange::nothing(peer.public_key)
    };
    (change != PeerChange::nothing(peer.public_key)).then_some(change)
}

fn preshared_key(peer: &PeerConfig) -> [u8; 32] {
    peer.preshared_key
        .as_ref()
        .map_or([0; 32], |key| key.bytes())
}

/// The kernel counts whole seconds.
fn keepalive_seconds(peer: &PeerConfig) -> u16 {
    let Some(period) = peer.keepalive else {
        return 0;
    };
    let seconds = period.as_secs() + u64::from(period.subsec_nanos() > 0);
    u16::try_from(seconds).unwrap_or(u16::MAX).max(1)
}

fn canonical(endpoint: Option<SocketAddr>) -> Option<SocketAddr> {
    endpoint.map(|endpoint| match endpoint.ip().to_canonical() {
        ip if ip == endpoint.ip() => endpoint,
        ip => SocketAddr::new(ip, endpoint.port()),
    })
}

#[cfg(test)]
mod tests;
