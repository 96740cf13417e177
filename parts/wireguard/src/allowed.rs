use std::collections::HashMap;
use std::net::IpAddr;

use mayfly_types::IpRange;

/// Which of several ranges an address lies in: the longest that holds it.
///
/// One hash table per length of prefix. Peers have few different lengths, so a question costs one or two look-ups.
#[derive(Debug)]
pub(crate) struct RangeMap<T> {
    /// Longest prefixes first.
    lengths: Vec<(u8, HashMap<IpRange, T>)>,
}

impl<T> Default for RangeMap<T> {
    fn default() -> Self {
        RangeMap {
            lengths: Vec::new(),
        }
    }
}

impl<T> RangeMap<T> {
    /// Gives `range` to `value`; who had exactly this range loses it.
    pub(crate) fn insert(&mut self, range: IpRange, value: T) {
        let length = range.prefix_length();
        let at = self.lengths.partition_point(|(known, _)| *known > length);
        if self
            .lengths
            .get(at)
            .is_none_or(|(known, _)| *known != length)
        {
            self.lengths.insert(at, (length, HashMap::new()));
        }
        self.lengths[at].1.insert(range, value);
    }

    pub(crate) fn get(&self, address: IpAddr) -> Option<&T> {
        self.lengths.iter().find_map(|(length, ranges)| {
            IpRange::new(address, *length).and_then(|range| ranges.get(&range))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_range_wins_in_either_family() {
        let mut map = RangeMap::default();
        for (range, name) in [
            ("::/0", "all"),
            ("fdaa:0:1::/48", "network"),
            ("fdaa:0:1:a::/120", "peer"),
            ("10.0.0.0/8", "v4"),
            ("10.1.0.0/16", "near"),
        ] {
            map.insert(range.parse().unwrap(), name);
        }
        for (address, name) in [
            ("fdaa:0:1:a::7", Some("peer")),
            ("fdaa:0:1:b::7", Some("network")),
            ("2001:db8::1", Some("all")),
            ("10.1.2.3", Some("near")),
            ("10.2.2.3", Some("v4")),
            ("192.0.2.1", None),
        ] {
            assert_eq!(
                map.get(address.parse().unwrap()).copied(),
                name,
                "{address}"
            );
        }
        map.insert("fdaa:0:1::/48".parse().unwrap(), "other");
        assert_eq!(map.get("fdaa:0:1::1".parse().unwrap()), Some(&"other"));
    }
}
