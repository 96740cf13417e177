use serde::{Deserialize, Serialize};

/// The average, what was not passed for 95 % of the time (said up to an eighth too high), and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    pub mean: u32,
    pub p95: u32,
    pub peak: u32,
}

impl Levels {
    /// The higher of each.
    #[must_use]
    pub fn max(self, other: Levels) -> Levels {
        Levels {
            mean: self.mean.max(other.mean),
            p95: self.p95.max(other.p95),
            peak: self.peak.max(other.peak),
        }
    }
}

/// How often which values were seen: exact below 16, and in eight classes for every doubling above. Only classes that
/// were seen take room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// Class and count, by class.
    seen: Vec<(u8, u32)>,
    sum: u64,
    peak: u32,
}

impl Spread {
    pub(super) fn add(&mut self, value: u32) {
        self.count(class(value), 1);
        self.sum = self.sum.saturating_add(u64::from(value));
        self.peak = self.peak.max(value);
    }

    pub(super) fn merge(&mut self, other: &Spread) {
        for (class, count) in &other.seen {
            self.count(*class, *count);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.peak = self.peak.max(other.peak);
    }

    pub(super) fn levels(&self) -> Option<Levels> {
        let total: u64 = self.seen.iter().map(|(_, count)| u64::from(*count)).sum();
        let wanted = (total * 95).div_ceil(100);
        let mut below = 0;
        let p95 = self.seen.iter().find(|(_, count)| {
            below += u64::from(*count);
            below >= wanted
        });
        Some(Levels {
            mean: u32::try_from(self.sum / total.max(1)).unwrap_or(u32::MAX),
            p95: highest_of(p95?.0).min(self.peak),
            peak: self.peak,
        })
    }

    fn count(&mut self, class: u8, more: u32) {
        match self.seen.binary_search_by_key(&class, |(known, _)| *known) {
            Ok(at) => self.seen[at].1 = self.seen[at].1.saturating_add(more),
            Err(at) => self.seen.insert(at, (class, more)),
        }
    }
}

/// Values below this are a class each.
const EXACT: u32 = 16;

fn class(value: u32) -> u8 {
    if value < EXACT {
        return value as u8;
    }
    let doubling = value.ilog2();
    let eighth = (value >> (doubling - 3)) & 7;
    (EXACT + (doubling - 4) * 8 + eighth) as u8
}

fn highest_of(class: u8) -> u32 {
    let class = u32::from(class);
    if class < EXACT {
        return class;
    }
    let (doubling, eighth) = ((class - EXACT) / 8 + 4, (class - EXACT) % 8);
    let above = u64::from(8 + eighth + 1) << (doubling.min(31) - 3);
    u32::try_from(above - 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_class_is_at_most_an_eighth_wide(value in any::<u32>()) {
            let highest = highest_of(class(value));
            prop_assert!(highest >= value);
            prop_assert!(highest - value <= value / 8);
            prop_assert_eq!(class(highest), class(value));
        }

        #[test]
        fn parts_are_as_the_whole(values in proptest::collection::vec(0_u32..5000, 1..200), cut in 0_usize..200) {
            let spread = |values: &[u32]| {
                let mut spread = Spread::default();
                values.iter().for_each(|value| spread.add(*value));
                spread
            };
            let cut = cut.min(values.len());
            let mut parts = spread(&values[..cut]);
            parts.merge(&spread(&values[cut..]));
            prop_assert_eq!(&parts, &spread(&values));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let exact = sorted[(values.len() * 95).div_ceil(100) - 1];
            let levels = parts.levels().unwrap();
            prop_assert!(levels.p95 >= exact && levels.p95 <= exact + exact / 8);
            prop_assert!(levels.p95 <= levels.peak);
            let sum: u64 = values.iter().copied().map(u64::from).sum();
            prop_assert_eq!(u64::from(levels.mean), sum / values.len() as u64);
        }
    }
}
