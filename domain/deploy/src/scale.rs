use std::collections::BTreeMap;

use mayfly_types::{MachineId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Readiness, Step, Turn};

/// How many machines of a group a region shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub group: String,
    pub region: Region,
    pub count: usize,
}

/// A machine that counts: standbys and canaries do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub id: MachineId,
    pub group: String,
    pub region: Region,
    pub running: bool,
    pub created_at: Timestamp,
    /// How far it is, if this change made it.
    pub made: Option<Readiness>,
}

/// The regions cannot take so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{regions} regions with at most {max_per_region} machines each take fewer than the {total} wanted"
)]
pub struct TooFewRegions {
    pub regions: usize,
    pub max_per_region: usize,
    pub total: usize,
}

/// Spreads a group's machines over `regions`, the most wanted first: what is there stays where it can, new machines go
/// around, and what is too much leaves from the last region on.
/// <https://fly.io/docs/launch/scale-count/>
///
/// # Errors
/// [`TooFewRegions`] for the limit of each.
pub fn spread(
    total: usize,
    current: &BTreeMap<Region, usize>,
    regions: &[Region],
    max_per_region: Option<usize>,
) -> Result<BTreeMap<Region, usize>, TooFewRegions> {
    let most = max_per_region.unwrap_or(usize::MAX);
    if most.saturating_mul(regions.len()) < total {
        return Err(TooFewRegions {
            regions: regions.len(),
            max_per_region: most,
            total,
        });
    }
    let mut counts: BTreeMap<Region, usize> = regions
        .iter()
        .map(|region| {
            let there = current.get(region).copied().unwrap_or_default();
            (region.clone(), there.min(most))
        })
        .collect();
    let mut sum: usize = counts.values().sum();
    for region in regions.iter().cycle() {
        if sum >= total {
            break;
        }
        let count = counts.get_mut(region).expect("every region has a count");
        if *count < most {
            *count += 1;
            sum += 1;
        }
    }
    for region in regions.iter().rev().cycle() {
        if sum <= total {
            break;
        }
        let count = counts.get_mut(region).expect("every region has a count");
        if *count > 0 {
            *count -= 1;
            sum -= 1;
        }
    }
    Ok(counts)
}

/// What is to be done so that every target has its machines. What rests goes first, then the newest.
pub fn scale(targets: &[Target], machines: &[Counted]) -> Turn {
    let mut steps = Vec::new();
    let mut waiting = false;
    for target in targets {
        let mut there: Vec<&Counted> = machines
            .iter()
            .filter(|one| one.group == target.group && one.region == target.region)
            .collect();
        for one in &there {
            match &one.made {
                Some(Readiness::Broken(why)) => {
                    return Turn::Failed(format!(
                        "machine {} of group {}: {why}",
                        one.id, one.group
                    ));
                }
                Some(Readiness::Waiting) => waiting = true,
                _ => {}
            }
        }
        let made = there.iter().filter(|one| one.made.is_some()).count();
        let lacking = target.count.saturating_sub(there.len());
        steps.extend((made..made + lacking).map(|number| Step::Add {
            group: target.group.clone(),
            region: target.region.clone(),
            number,
        }));
        there.sort_by_key(|one| (one.running, std::cmp::Reverse((one.created_at, one.id))));
        let surplus = there.len().saturating_sub(target.count);
        steps.extend(there.iter().take(surplus).map(|one| Step::Destroy(one.id)));
    }
    match (steps.is_empty(), waiting) {
        (false, _) => Turn::Act(steps),
        (true, true) => Turn::Wait,
        (true, false) => Turn::Done,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(code: &str) -> Region {
        code.parse().expect("a code of a region")
    }

    fn counts(pairs: &[(&str, usize)]) -> BTreeMap<Region, usize> {
        pairs
            .iter()
            .map(|(code, count)| (region(code), *count))
            .collect()
    }

    #[test]
    fn machines_spread_as_documented() {
        // wanted, there, regions, most of each, result
        type Case = (
            usize,
            &'static [(&'static str, usize)],
            &'static [&'static str],
            Option<usize>,
            &'static [(&'static str, usize)],
        );
        let cases: [Case; 8] = [
            (2, &[], &["ord", "iad"], None, &[("ord", 1), ("iad", 1)]),
            (
                20,
                &[],
                &["ams", "ewr", "gig"],
                None,
                &[("ams", 7), ("ewr", 7), ("gig", 6)],
            ),
            (3, &[("sin", 1)], &["sin"], None, &[("sin", 3)]),
            (0, &[("iad", 2)], &["iad"], None, &[("iad", 0)]),
            (
                3,
                &[("iad", 2), ("lhr", 2)],
                &["iad", "lhr"],
                None,
                &[("iad", 2), ("lhr", 1)],
            ),
            (
                3,
                &[("iad", 3)],
                &["iad", "lhr"],
                Some(2),
                &[("iad", 2), ("lhr", 1)],
            ),
            (
                4,
                &[("iad", 3), ("lhr", 1)],
                &["iad", "lhr"],
                None,
                &[("iad", 3), ("lhr", 1)],
            ),
            (2, &[("nrt", 5)], &["iad"], None, &[("iad", 2)]),
        ];
        for (total, there, regions, most, expected) in cases {
            let regions: Vec<Region> = regions.iter().map(|code| region(code)).collect();
            let spread = spread(total, &counts(there), &regions, most);
            assert_eq!(
                spread,
                Ok(counts(expected)),
                "{total} {there:?} {regions:?} {most:?}"
            );
        }
        let few = spread(3, &counts(&[]), &[region("iad")], Some(2));
        assert_eq!(few.unwrap_err().total, 3);
        assert_eq!(spread(0, &counts(&[]), &[], None), Ok(counts(&[])));
    }

    proptest! {
        #[test]
        fn the_sum_is_what_was_wanted(
            total in 0_usize..60,
            there in proptest::collection::vec(0_usize..30, 1..6),
            most in proptest::option::of(0_usize..20),
        ) {
            let codes = ["iad", "lhr", "nrt", "syd", "ams", "gru"];
            let regions: Vec<Region> = codes[..there.len()].iter().map(|code| region(code)).collect();
            let current: BTreeMap<Region, usize> = regions.iter().cloned().zip(there).collect();
            match spread(total, &current, &regions, most) {
                Ok(spread) => {
                    prop_assert_eq!(spread.values().sum::<usize>(), total);
                    prop_assert!(spread.values().all(|count| *count <= most.unwrap_or(usize::MAX)));
                }
                Err(few) => prop_assert!(few.max_per_region * few.regions < total),
            }
        }
    }

    fn machine(number: u8, code: &str, running: bool, made: Option<Readiness>) -> Counted {
        Counted {
            id: MachineId::from_random([number; 14]),
            group: "app".to_owned(),
            region: region(code),
            running,
            created_at: Timestamp::from_millis(i64::from(number)),
            made,
        }
    }

    #[test]
    fn what_rests_goes_first_and_what_is_new_is_waited_for() {
        let target = |count| Target {
            group: "app".to_owned(),
            region: region("iad"),
            count,
        };
        let machines = [
            machine(1, "iad", true, None),
            machine(2, "iad", false, None),
            machine(3, "iad", true, None),
            machine(4, "lhr", false, None),
        ];
        let gone = |count| scale(&[target(count)], &machines);
        let destroy = |numbers: &[usize]| {
            Turn::Act(
                numbers
                    .iter()
                    .map(|at| Step::Destroy(machines[*at].id))
                    .collect(),
            )
        };
        assert_eq!(gone(2), destroy(&[1]));
        assert_eq!(gone(1), destroy(&[1, 2]));
        assert_eq!(gone(0), destroy(&[1, 2, 0]));
        assert_eq!(gone(3), Turn::Done);
        let add = |number| Step::Add {
            group: "app".to_owned(),
            region: region("iad"),
            number,
        };
        assert_eq!(gone(5), Turn::Act(vec![add(0), add(1)]));
        // One of two is there: it is waited for, and the other is not made under the same name.
        let mut half = machines.to_vec();
        half.push(machine(5, "iad", true, Some(Readiness::Waiting)));
        assert_eq!(scale(&[target(5)], &half), Turn::Act(vec![add(1)]));
        assert_eq!(scale(&[target(4)], &half), Turn::Wait);
        half[4].made = Some(Readiness::Up);
        assert_eq!(scale(&[target(4)], &half), Turn::Done);
        half[4].made = Some(Readiness::Broken("it ended".to_owned()));
        assert!(matches!(scale(&[target(4)], &half), Turn::Failed(_)));
    }
}
