use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_routing::{UNKNOWN, round_trip};
use mayfly_types::Region;

use super::Fleet;

/// How far regions seem to be from each other on a server that plays several. Without emulation they are as near as
/// they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    emulated: bool,
    told: BTreeMap<(Region, Region), Duration>,
}

impl Latency {
    /// Requests between regions take the round trips that were `told`, in either direction, or else those of the map.
    pub fn emulated(told: impl IntoIterator<Item = ((Region, Region), Duration)>) -> Latency {
        Latency {
            emulated: true,
            told: told.into_iter().collect(),
        }
    }

    /// Regions of which nobody knows where they are have no distance.
    fn round_trip(&self, one: &Region, other: &Region) -> Duration {
        if !self.emulated || one == other {
            return Duration::ZERO;
        }
        let ways = [(one, other), (other, one)];
        let told = ways.into_iter().find_map(|(from, to)| {
            let way = (from.clone(), to.clone());
            self.told.get(&way).copied()
        });
        told.unwrap_or_else(|| match round_trip(one, other) {
            UNKNOWN => Duration::ZERO,
            tenths => Duration::from_micros(u64::from(tenths) * 100),
        })
    }
}

impl Fleet {
    /// Waits as long as a request would be under way from an edge of one region to a machine of another.
    pub(crate) async fn travel(&self, from: &Region, to: &Region, round_trips: u32) {
        let way = self.latency.round_trip(from, to) * round_trips;
        if !way.is_zero() {
            Box::pin(tokio::time::sleep(way)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_told_or_read_off_the_map() {
        let region = |code: &str| -> Region { code.parse().unwrap() };
        let told = Duration::from_millis(7);
        let latency = Latency::emulated([((region("iad"), region("fra")), told)]);
        let between = |latency: &Latency, one: &str, other: &str| {
            latency.round_trip(&region(one), &region(other))
        };
        assert_eq!(between(&latency, "iad", "fra"), told);
        assert_eq!(between(&latency, "fra", "iad"), told);
        assert_eq!(between(&latency, "iad", "iad"), Duration::ZERO);
        assert_eq!(between(&latency, "iad", "zzz"), Duration::ZERO);
        let pacific = between(&latency, "iad", "nrt");
        assert!((100..250).contains(&pacific.as_millis()), "{pacific:?}");
        assert_eq!(between(&Latency::default(), "iad", "nrt"), Duration::ZERO);
    }
}
