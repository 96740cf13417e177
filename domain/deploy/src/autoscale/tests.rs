use proptest::prelude::*;

use super::*;

const PACE: Pace = Pace {
    busy_for: Duration::from_secs(30),
    quiet_for: Duration::from_secs(600),
    cool_down: Duration::from_secs(60),
};

fn region(code: &str) -> Region {
    code.parse().expect("a code of a region")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn machine(number: u8, code: &str, load: u64) -> Scaled {
    Scaled {
        id: MachineId::from_random([number; 14]),
        region: region(code),
        standing: Standing::Running,
        load,
        ours: number >= 100,
        created_at: at(i64::from(number)),
    }
}

/// A group that is looked at as time goes by.
struct Group {
    bounds: Bounds,
    machines: Vec<Scaled>,
    load: Load,
    demand: u64,
    changed_at: Option<Timestamp>,
    failures: u32,
    since: Since,
}

impl Group {
    fn of(min: usize, max: usize, machines: Vec<Scaled>) -> Group {
        Group {
            bounds: Bounds { min, max },
            machines,
            load: Load::All { waiting: 0 },
            demand: 0,
            changed_at: None,
            failures: 0,
            since: Since::default(),
        }
    }

    fn look(&mut self, seconds: i64) -> Option<Resize> {
        let home = region("iad");
        let scope = Scope {
            bounds: self.bounds,
            pace: PACE,
            machines: &self.machines,
            load: self.load,
            demand: self.demand,
            home: &home,
            changed_at: self.changed_at,
            failures: self.failures,
            now: at(seconds),
        };
        autoscale(&scope, &mut self.since)
    }

    /// What a load that stays leads to after so many seconds.
    fn after(&mut self, seconds: i64) -> Option<Resize> {
        (0..seconds).step_by(5).for_each(|now| drop(self.look(now)));
        self.look(seconds)
    }
}

fn grows_in(resize: Option<Resize>) -> Option<String> {
    match resize {
        Some(Resize::Grow { region, .. }) => Some(region.to_string()),
        _ => None,
    }
}

fn loses(resize: &Option<Resize>) -> Option<MachineId> {
    match resize {
        Some(Resize::Shrink { machine, .. }) => Some(*machine),
        _ => None,
    }
}

#[test]
fn a_full_region_gets_a_machine_after_a_while() {
    let full = || vec![machine(1, "iad", 1200), machine(2, "iad", 1000)];
    let mut group = Group::of(1, 3, full());
    assert_eq!(group.look(0), None);
    assert_eq!(group.look(29), None);
    let grown = group.look(30);
    assert_eq!(
        grown,
        Some(Resize::Grow {
            region: region("iad"),
            why: "2 machines have 110 % of the soft limit to do in iad, for 30 s".to_owned(),
        })
    );
    // A moment with room for one more, and it is not for long.
    let mut group = Group::of(1, 3, full());
    group.look(0);
    group.machines[1].load = 700;
    group.look(20);
    group.machines[1].load = 1000;
    assert_eq!(group.look(30), None);
    assert_eq!(grows_in(group.look(60)), Some("iad".to_owned()));
    // Never above the most.
    let mut most = Group::of(1, 2, full());
    assert_eq!(most.after(3000), None);
    // Not so soon after the last.
    let mut soon = Group::of(1, 3, full());
    soon.changed_at = Some(at(20));
    assert_eq!(soon.after(40), None);
    assert_eq!(grows_in(soon.after(50)), Some("iad".to_owned()));
}

#[test]
fn machines_come_where_the_load_is() {
    let mut group = Group::of(
        1,
        9,
        vec![
            machine(1, "iad", 300),
            machine(2, "nrt", 1500),
            machine(3, "lhr", 0),
        ],
    );
    assert_eq!(grows_in(group.after(30)), Some("nrt".to_owned()));
    // Requests that wait count where there is least room.
    let mut waiting = Group::of(1, 9, vec![machine(1, "iad", 100), machine(2, "nrt", 800)]);
    waiting.load = Load::All { waiting: 250 };
    assert_eq!(grows_in(waiting.after(30)), Some("nrt".to_owned()));
}

#[test]
fn edges_wake_what_rests_before_anything_is_made() {
    for standing in [Standing::Resting, Standing::Coming] {
        let mut group = Group::of(1, 9, vec![machine(1, "iad", 2000), machine(2, "lhr", 0)]);
        group.machines[1].standing = standing;
        assert_eq!(group.after(600), None, "{standing:?}");
        // What cannot be woken is no help.
        group.machines[1].standing = Standing::Out;
        assert_eq!(grows_in(group.look(600)), Some("iad".to_owned()));
    }
}

#[test]
fn a_quiet_region_loses_what_was_made_for_it() {
    let mut group = Group::of(
        1,
        3,
        vec![
            machine(1, "iad", 300),
            machine(100, "iad", 100),
            machine(101, "iad", 100),
        ],
    );
    assert_eq!(group.after(595), None);
    let newest = group.machines[2].id;
    assert_eq!(loses(&group.after(600)), Some(newest));
    // What rests goes before what runs.
    group.machines[1].standing = Standing::Resting;
    assert_eq!(loses(&group.look(605)), Some(group.machines[1].id));
    group.changed_at = Some(at(605));
    assert_eq!(group.look(664), None);
    assert!(group.look(665).is_some());
    // Half of what one less could take, and not more.
    group.machines.truncate(2);
    group.machines[0].load = 401;
    assert_eq!(group.after(1400), None);
    // Others' machines stay, and so do the fewest wanted.
    let mut others = Group::of(1, 3, vec![machine(1, "iad", 0), machine(2, "iad", 0)]);
    assert_eq!(others.after(1200), None);
    let mut fewest = Group::of(2, 3, vec![machine(1, "iad", 0), machine(100, "iad", 0)]);
    assert_eq!(fewest.after(1200), None);
}

#[test]
fn nothing_is_concluded_from_silence() {
    let mut busy = Group::of(1, 3, vec![machine(1, "iad", 2000)]);
    busy.load = Load::Unknown;
    assert_eq!(busy.after(600), None);
    let mut quiet = Group::of(1, 3, vec![machine(1, "iad", 0), machine(100, "iad", 0)]);
    quiet.load = Load::Unknown;
    assert_eq!(quiet.after(1200), None);
    quiet.load = Load::All { waiting: 0 };
    assert_eq!(quiet.look(1300), None);
    // Of those that are heard one knows that there is work, not that there is none.
    let mut partly = Group::of(1, 3, vec![machine(1, "iad", 2000)]);
    partly.load = Load::AtLeast { waiting: 0 };
    assert_eq!(grows_in(partly.after(30)), Some("iad".to_owned()));
    quiet.load = Load::AtLeast { waiting: 0 };
    assert_eq!(quiet.look(3000), None);
    // The fewest are the fewest all the same.
    let mut few = Group::of(2, 3, vec![machine(1, "lhr", 0)]);
    few.load = Load::Unknown;
    assert_eq!(grows_in(few.look(0)), Some("lhr".to_owned()));
    let mut none = Group::of(1, 3, Vec::new());
    assert_eq!(grows_in(none.look(0)), Some("iad".to_owned()));
}

#[test]
fn what_failed_is_tried_again_later_each_time() {
    let mut few = Group::of(2, 3, vec![machine(1, "iad", 0)]);
    for (failures, wait) in [(1, 60), (2, 120), (4, 480), (5, 600), (40, 600)] {
        few.failures = failures;
        few.changed_at = Some(at(0));
        assert_eq!(few.look(wait - 1), None, "{failures}");
        assert!(few.look(wait).is_some(), "{failures}");
    }
}

#[test]
fn a_lower_limit_takes_effect_at_once_on_our_own() {
    let mut group = Group::of(
        1,
        2,
        vec![
            machine(1, "iad", 900),
            machine(100, "iad", 900),
            machine(101, "iad", 900),
        ],
    );
    assert_eq!(loses(&group.look(0)), Some(group.machines[2].id));
    group.machines.iter_mut().for_each(|one| one.ours = false);
    assert_eq!(group.look(5), None);
}

#[test]
fn a_region_gets_its_first_machine_by_what_comes_in_there() {
    let mut group = Group::of(0, 1, Vec::new());
    group.demand = FULL / 2 - 1;
    assert_eq!(group.after(3000), None);
    group.demand = FULL / 2;
    assert_eq!(group.look(3001), None);
    assert_eq!(group.look(3030), None);
    assert_eq!(
        group.look(3031),
        Some(Resize::Grow {
            region: region("iad"),
            why: "no machine in iad, where 50 % of a soft limit comes in, for 30 s".to_owned(),
        })
    );
    // A moment with less begins it anew, and so does silence.
    for quiet in [(FULL / 3, Load::All { waiting: 0 }), (FULL, Load::Unknown)] {
        let mut group = Group::of(0, 1, Vec::new());
        group.demand = FULL;
        group.look(0);
        (group.demand, group.load) = quiet;
        group.look(20);
        (group.demand, group.load) = (FULL, Load::All { waiting: 0 });
        assert_eq!(group.look(30), None);
        assert_eq!(grows_in(group.look(60)), Some("iad".to_owned()));
    }
    // One that could not be made is tried again later each time.
    let mut failed = Group::of(0, 1, Vec::new());
    (failed.demand, failed.failures, failed.changed_at) = (FULL, 2, Some(at(0)));
    assert_eq!(failed.after(115), None);
    assert!(failed.look(120).is_some());
    // It stays while there is something to do, and goes then.
    let mut one = Group::of(0, 1, vec![machine(100, "iad", 1)]);
    assert_eq!(one.after(3000), None);
    one.machines[0].load = 0;
    assert_eq!(one.look(3001), None);
    assert!(loses(&one.look(3601)).is_some());
}

proptest! {
    /// Under a load that stays, numbers come to rest within the bounds, and what grew does not shrink again.
    #[test]
    fn a_steady_load_comes_to_rest(
        total in 0_u64..12_000,
        first in 1_usize..4,
        min in 0_usize..4,
        more in 0_usize..6,
    ) {
        let max = (min + more).max(1);
        let own = (0..first).map(|number| machine(u8::try_from(number).unwrap(), "iad", 0));
        let mut group = Group::of(min, max, own.collect());
        let mut directions = Vec::new();
        let mut number = 100;
        for now in (0..40_000).step_by(30) {
            let count = group.machines.len();
            let each = total / u64::try_from(count).unwrap();
            group.machines.iter_mut().for_each(|one| one.load = each);
            match group.look(now) {
                None => continue,
                Some(Resize::Grow { .. }) => {
                    number += 1;
                    group.machines.push(machine(number, "iad", 0));
                    directions.push(1);
                }
                Some(Resize::Shrink { machine, .. }) => {
                    let gone = group.machines.iter().position(|one| one.id == machine).unwrap();
                    prop_assert!(group.machines[gone].ours);
                    group.machines.remove(gone);
                    directions.push(-1);
                }
            }
            group.changed_at = Some(at(now));
            prop_assert!(group.machines.len() <= max.max(first));
            prop_assert!(group.machines.len() >= min.min(first));
        }
        directions.dedup();
        prop_assert!(directions.len() <= 1, "{directions:?}");
        let count = u64::try_from(group.machines.len()).unwrap();
        prop_assert!(count >= u64::try_from(min).unwrap());
        // It is not full unless there may be no more.
        prop_assert!(group.machines.len() >= max || total / count < FULL);
    }
}
