use std::time::Duration;

use mayfly_machine::{CheckStatus, MachineState};
use mayfly_types::{MachineId, Region, Timestamp};
use proptest::prelude::*;

use crate::{
    CheckNow, Group, Member, Readiness, Rules, Seen, Stage, Step, Strategy, Turn, Unavailable,
    next, readiness,
};

fn rules(strategy: Strategy, max_unavailable: Unavailable) -> Rules {
    Rules {
        strategy,
        max_unavailable,
        max_concurrent: usize::MAX,
        wait_timeout: Duration::from_secs(300),
        checks: true,
        smoke_checks: true,
    }
}

fn id(number: usize) -> MachineId {
    MachineId::from_random(std::array::from_fn(|digit| {
        if digit >= 12 {
            ((number >> (4 * (13 - digit))) & 15) as u8
        } else {
            1
        }
    }))
}

fn region(code: &str) -> Region {
    code.parse().unwrap()
}

fn group(name: &str) -> Group {
    Group {
        name: name.to_owned(),
        first_machines: vec![region("iad"); 2],
        standby_at_first: false,
        regions: Vec::new(),
    }
}

fn old(number: usize, running: bool) -> Member {
    Member {
        id: id(number),
        group: "app".to_owned(),
        region: region("iad"),
        release: None,
        made: false,
        number: None,
        replaces: None,
        remounts: false,
        canary: false,
        standby: false,
        running,
        cordoned: false,
        leased: false,
    }
}

fn made(number: usize, group: &str) -> Member {
    Member {
        group: group.to_owned(),
        release: Some(Readiness::Waiting),
        made: true,
        running: true,
        ..old(number, true)
    }
}

/// An app whose machines do what they are told; those in `bad` never come up.
struct World {
    rules: Rules,
    groups: Vec<Group>,
    members: Vec<Member>,
    stage: Stage,
    made: usize,
    bad: Vec<MachineId>,
    bad_image: bool,
}

impl World {
    fn new(strategy: Strategy, max: Unavailable, members: Vec<Member>) -> World {
        World {
            rules: rules(strategy, max),
            groups: vec![group("app")],
            members,
            stage: match strategy {
                Strategy::Canary => Stage::Canary,
                _ => Stage::Machines,
            },
            made: 0,
            bad: Vec::new(),
            bad_image: false,
        }
    }

    /// Running machines of the app that take requests now.
    fn serving(&self) -> usize {
        let up = |member: &&Member| {
            member.running
                && !member.cordoned
                && !member.canary
                && !matches!(
                    member.release,
                    Some(Readiness::Waiting | Readiness::Broken(_))
                )
        };
        self.members.iter().filter(up).count()
    }

    fn member(&mut self, id: MachineId) -> &mut Member {
        self.members
            .iter_mut()
            .find(|member| member.id == id)
            .unwrap()
    }

    fn make(&mut self, group: &str, change: impl FnOnce(&mut Member)) {
        self.made += 1;
        let mut member = made(100 + self.made, group);
        change(&mut member);
        self.members.push(member);
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Create {
                group,
                region,
                number,
            } => self.make(&group, |member| {
                member.region = region;
                member.number = Some(number);
            }),
            Step::Settle { group, region } => {
                let closed = self.rules.strategy == Strategy::BlueGreen;
                self.make(&group, |member| {
                    member.region = region;
                    member.cordoned = closed;
                });
            }
            Step::Add { group, .. } => self.make(&group, |_| {}),
            Step::CreateStandby { group, .. } => self.make(&group, |member| {
                member.standby = true;
                member.running = false;
            }),
            Step::CreateCanary { group } => self.make(&group, |member| member.canary = true),
            Step::CreateGreen { blue } => {
                let region = self.member(blue).region.clone();
                self.make("app", |member| {
                    member.replaces = Some(blue);
                    member.region = region;
                    member.cordoned = true;
                });
            }
            Step::Replace(old) => {
                self.made += 1;
                self.members.push(Member {
                    replaces: Some(old),
                    ..made(100 + self.made, "app")
                });
            }
            Step::Update(id) => self.member(id).release = Some(Readiness::Waiting),
            Step::Uncordon(id) | Step::Reopen(id) => self.member(id).cordoned = false,
            Step::Cordon(id) => self.member(id).cordoned = true,
            Step::Stop(id) => self.member(id).running = false,
            Step::Destroy(id) => self.members.retain(|member| member.id != id),
        }
    }

    /// One of the machines on their way arrives, chosen by `dice`.
    fn settle(&mut self, dice: usize) {
        let bad_image = self.bad_image;
        let bad = self.bad.clone();
        let mut waiting: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| member.release == Some(Readiness::Waiting))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let chosen = dice % waiting.len();
        let member = &mut waiting[chosen];
        member.release = Some(match bad_image || bad.contains(&member.id) {
            true => Readiness::Broken("exit code 1".to_owned()),
            false => Readiness::Up,
        });
    }

    /// Runs to the end; checks after each step that at least `serving` machines take requests.
    fn run(&mut self, dice: &[usize], serving: usize) -> Turn {
        for round in 0..2000 {
            match next(&self.rules, &self.groups, &self.members, self.stage) {
                Turn::Act(steps) => {
                    assert!(!steps.is_empty());
                    for step in steps {
                        self.act(step);
                    }
                }
                Turn::Enter(stage) => self.stage = stage,
                Turn::Wait => self.settle(dice[round % dice.len()]),
                end => return end,
            }
            assert!(self.serving() >= serving, "{:?}", self.members);
        }
        panic!("no end: {:?}", self.members);
    }

    fn all_have_it(&self) -> bool {
        self.members.iter().all(is_up)
    }
}

fn is_up(member: &Member) -> bool {
    member.release == Some(Readiness::Up)
}

#[test]
fn a_new_machine_that_fails_in_traffic_gives_it_back() {
    let old = |number| Member {
        running: true,
        made: false,
        cordoned: true,
        release: None,
        ..made(number, "app")
    };
    let green = |number, blue: &Member, release| Member {
        replaces: Some(blue.id),
        running: true,
        release: Some(release),
        ..made(number, "app")
    };
    let (one, two) = (old(1), old(2));
    let failing = green(12, &two, Readiness::Waiting);
    let mut members = vec![
        one.clone(),
        two.clone(),
        green(11, &one, Readiness::Up),
        failing,
    ];
    let world = World::new(Strategy::BlueGreen, Unavailable::default(), Vec::new());
    let look = |members: &[Member]| next(&world.rules, &world.groups, members, Stage::Switch);
    let reopened = Turn::Act(vec![Step::Reopen(one.id), Step::Reopen(two.id)]);
    assert_eq!(look(&members), reopened);
    members[0].cordoned = false;
    members[1].cordoned = false;
    assert_eq!(look(&members), Turn::Wait);
    members[3].release = Some(Readiness::Broken("check web is critical".to_owned()));
    assert!(matches!(look(&members), Turn::Failed(why) if why.ends_with("critical")));
    // It recovers, and the old ones are closed again.
    members[3].release = Some(Readiness::Up);
    let closed = Turn::Act(vec![Step::Cordon(one.id), Step::Cordon(two.id)]);
    assert_eq!(look(&members), closed);
    // There is no way back once one of them is gone, or none runs.
    members[3].release = Some(Readiness::Waiting);
    members[0].cordoned = true;
    members[1].cordoned = true;
    for member in &mut members[..2] {
        member.running = false;
    }
    let gone = Turn::Act(vec![Step::Destroy(one.id), Step::Destroy(two.id)]);
    assert_eq!(look(&members), gone);
    members.remove(0);
    members[0].running = true;
    assert_eq!(look(&members), Turn::Act(vec![Step::Stop(two.id)]));
}

#[test]
fn a_first_deployment_makes_the_machines_and_a_standby() {
    let mut world = World::new(Strategy::Rolling, Unavailable::default(), Vec::new());
    world.groups = vec![
        group("web"),
        Group {
            name: "worker".to_owned(),
            first_machines: vec![region("iad")],
            standby_at_first: true,
            regions: Vec::new(),
        },
    ];
    assert_eq!(world.run(&[0], 0), Turn::Done);
    let count = |group: &str| {
        let members = world.members.iter();
        members.filter(|member| member.group == group).count()
    };
    assert_eq!((count("web"), count("worker")), (2, 2));
    // The next release changes what is there, whatever a new group would get.
    for member in &mut world.members {
        member.release = None;
        member.made = false;
    }
    assert_eq!(world.run(&[0], 0), Turn::Done);
    assert_eq!(world.members.len(), 4);
}

#[test]
fn a_group_gets_its_machines_where_it_shall_be() {
    let places = |world: &World| -> Vec<String> {
        let mut places: Vec<String> = world
            .members
            .iter()
            .map(|member| member.region.to_string())
            .collect();
        places.sort();
        places
    };
    let mut world = World::new(Strategy::Rolling, Unavailable::default(), Vec::new());
    world.groups[0].first_machines = ["ord", "iad", "lhr"].map(region).to_vec();
    assert_eq!(world.run(&[0], 0), Turn::Done);
    assert_eq!(places(&world), ["iad", "lhr", "ord"]);
    for strategy in [
        Strategy::Rolling,
        Strategy::Immediate,
        Strategy::Canary,
        Strategy::BlueGreen,
    ] {
        let members = vec![old(1, true), old(2, true)];
        let mut world = World::new(strategy, Unavailable::Count(1), members);
        world.groups[0].regions = ["iad", "lhr", "nrt"].map(region).to_vec();
        let serving = usize::from(strategy != Strategy::Immediate);
        assert_eq!(world.run(&[0, 1, 2], serving), Turn::Done, "{strategy}");
        assert_eq!(places(&world), ["iad", "iad", "lhr", "nrt"], "{strategy}");
        assert!(world.all_have_it(), "{strategy}");
    }
}

#[test]
fn a_first_machine_that_could_not_be_made_is_made_again() {
    let rules = rules(Strategy::Rolling, Unavailable::default());
    let second = Member {
        number: Some(1),
        ..made(9, "app")
    };
    let turn = next(&rules, &[group("app")], &[second], Stage::Machines);
    let first = Step::Create {
        group: "app".to_owned(),
        region: region("iad"),
        number: 0,
    };
    assert_eq!(turn, Turn::Act(vec![first]));
}

#[test]
fn groups_that_are_gone_take_their_machines_along() {
    let mut world = World::new(
        Strategy::Rolling,
        Unavailable::default(),
        vec![
            old(1, true),
            Member {
                group: "gone".to_owned(),
                ..old(2, true)
            },
        ],
    );
    assert_eq!(world.run(&[0], 0), Turn::Done);
    assert_eq!(world.members.len(), 1);
}

#[test]
fn a_broken_release_touches_one_machine_of_a_roll_and_none_of_the_old_otherwise() {
    for (strategy, untouched) in [
        (Strategy::Rolling, 3),
        (Strategy::Canary, 4),
        (Strategy::BlueGreen, 4),
    ] {
        let members = (1..=4).map(|number| old(number, true)).collect();
        let mut world = World::new(strategy, Unavailable::Count(3), members);
        world.bad_image = true;
        assert!(matches!(world.run(&[0], 3), Turn::Failed(_)), "{strategy}");
        let old = world
            .members
            .iter()
            .filter(|member| member.release.is_none());
        assert_eq!(old.count(), untouched, "{strategy}");
    }
}

#[test]
fn a_canary_on_its_way_out_stops_nothing() {
    let rules = rules(Strategy::Canary, Unavailable::default());
    let groups = [group("app")];
    let gone = Member {
        canary: true,
        release: Some(Readiness::Broken("it was destroyed".to_owned())),
        ..made(9, "app")
    };
    let members = [old(1, true), gone];
    let turn = |stage| next(&rules, &groups, &members, stage);
    assert!(matches!(turn(Stage::Canary), Turn::Failed(_)));
    assert!(matches!(turn(Stage::Machines), Turn::Act(_)));
}

#[test]
fn a_leased_machine_is_waited_for() {
    let leased = Member {
        leased: true,
        ..old(1, true)
    };
    let world = World::new(Strategy::Rolling, Unavailable::default(), vec![leased]);
    let turn = next(&world.rules, &world.groups, &world.members, world.stage);
    assert_eq!(turn, Turn::Wait);
}

#[test]
fn shares_are_rounded_up_and_never_zero() {
    for (written, all, most) in [
        (0.33, 6, 2),
        (0.33, 1, 1),
        (0.01, 5, 1),
        (0.5, 3, 2),
        (1.0, 6, 1),
        (4.0, 6, 4),
    ] {
        let unavailable = Unavailable::try_from(written).unwrap();
        assert_eq!(unavailable.of(all), most, "{written} of {all}");
    }
    for wrong in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        assert!(Unavailable::try_from(wrong).is_err(), "{wrong}");
    }
}

fn seen(state: MachineState) -> Seen {
    Seen {
        state,
        since: Timestamp::from_millis(1_000),
        updated_at: Timestamp::from_millis(0),
        delivered: true,
        ran: true,
        rests: false,
        checks: Vec::new(),
        crashes: 0,
        exit_code: None,
        failure: None,
    }
}

fn check(status: CheckStatus) -> CheckNow {
    CheckNow {
        name: "alive".to_owned(),
        status,
        output: "connection refused\n".to_owned(),
    }
}

#[test]
fn readiness_by_table() {
    let rolling = rules(Strategy::Rolling, Unavailable::default());
    let no_smoke = Rules {
        smoke_checks: false,
        ..rolling
    };
    let immediate = Rules {
        strategy: Strategy::Immediate,
        ..rolling
    };
    let started = seen(MachineState::Started);
    let with = |status| Seen {
        checks: vec![check(CheckStatus::Passing), check(status)],
        ..started.clone()
    };
    let crashed = |crashes, code| Seen {
        crashes,
        exit_code: Some(code),
        ..seen(MachineState::Stopped)
    };
    for (what, seen, rules, at_ms, wanted) in [
        ("just started", started.clone(), rolling, 2_000, "waiting"),
        (
            "ran for ten seconds",
            started.clone(),
            rolling,
            11_000,
            "up",
        ),
        ("nobody watches", started.clone(), no_smoke, 2_000, "up"),
        (
            "checks pass",
            with(CheckStatus::Passing),
            rolling,
            2_000,
            "up",
        ),
        (
            "nobody asks for checks",
            with(CheckStatus::Critical),
            Rules {
                checks: false,
                ..no_smoke
            },
            2_000,
            "up",
        ),
        (
            "one check waits",
            with(CheckStatus::Warning),
            rolling,
            20_000,
            "waiting",
        ),
        (
            "too late",
            with(CheckStatus::Critical),
            rolling,
            300_000,
            "check alive is critical after 300 s: connection refused",
        ),
        (
            "one restart",
            Seen {
                crashes: 1,
                ..started.clone()
            },
            rolling,
            20_000,
            "up",
        ),
        (
            "two restarts",
            Seen {
                crashes: 2,
                exit_code: Some(3),
                ..started.clone()
            },
            rolling,
            20_000,
            "the app appears to be crashing: it ended 2 times, last with exit code 3",
        ),
        (
            "ended badly",
            crashed(1, 7),
            rolling,
            2_000,
            "it ended with exit code 7",
        ),
        ("did its work", crashed(1, 0), rolling, 2_000, "up"),
        (
            "put to rest",
            seen(MachineState::Suspended),
            rolling,
            2_000,
            "up",
        ),
        (
            "between stop and start",
            Seen {
                ran: false,
                ..seen(MachineState::Stopped)
            },
            rolling,
            2_000,
            "waiting",
        ),
        (
            "not to be started",
            Seen {
                ran: false,
                rests: true,
                ..seen(MachineState::Stopped)
            },
            rolling,
            2_000,
            "up",
        ),
        (
            "not delivered",
            Seen {
                delivered: false,
                ..started.clone()
            },
            rolling,
            20_000,
            "waiting",
        ),
        (
            "immediate",
            with(CheckStatus::Critical),
            immediate,
            2_000,
            "up",
        ),
        (
            "no image",
            Seen {
                failure: Some("no such image".to_owned()),
                ..seen(MachineState::LaunchFailed)
            },
            rolling,
            2_000,
            "no such image",
        ),
        (
            "taken away",
            seen(MachineState::Destroyed),
            rolling,
            2_000,
            "it was destroyed",
        ),
    ] {
        let wanted = match wanted {
            "up" => Readiness::Up,
            "waiting" => Readiness::Waiting,
            why => Readiness::Broken(why.to_owned()),
        };
        assert_eq!(
            readiness(&seen, &rules, Timestamp::from_millis(at_ms)),
            wanted,
            "{what}"
        );
    }
}

proptest! {
    /// Whatever order machines come up in, a roll ends with all of them changed and never takes down more than allowed.
    #[test]
    fn a_roll_keeps_its_word(
        running in 1usize..12,
        resting in 0usize..6,
        max in 1usize..5,
        dice in proptest::collection::vec(0usize..100, 1..40),
    ) {
        let members = (0..running + resting).map(|number| old(number, number < running)).collect();
        let mut world = World::new(Strategy::Rolling, Unavailable::Count(max), members);
        prop_assert_eq!(world.run(&dice, running.saturating_sub(max)), Turn::Done);
        prop_assert!(world.all_have_it());
        prop_assert_eq!(world.members.len(), running + resting);
    }

    #[test]
    fn blue_green_and_canary_never_serve_with_less(
        count in 1usize..10,
        blue_green in any::<bool>(),
        dice in proptest::collection::vec(0usize..100, 1..40),
    ) {
        let strategy = if blue_green { Strategy::BlueGreen } else { Strategy::Canary };
        let members = (0..count).map(|number| old(number, true)).collect();
        let mut world = World::new(strategy, Unavailable::Count(1), members);
        let least = if blue_green { count } else { count - 1 };
        prop_assert_eq!(world.run(&dice, least), Turn::Done);
        prop_assert!(world.all_have_it());
        prop_assert_eq!(world.members.len(), count);
    }

    /// One machine that never comes up stops a roll before it has touched more than it may.
    #[test]
    fn a_roll_stops_at_the_first_that_fails(
        running in 1usize..12,
        bad in 0usize..12,
        max in 1usize..4,
        dice in proptest::collection::vec(0usize..100, 1..40),
    ) {
        let members: Vec<Member> = (0..running).map(|number| old(number, true)).collect();
        let mut world = World::new(Strategy::Rolling, Unavailable::Count(max), members);
        world.bad = vec![id(bad % running)];
        prop_assert!(matches!(world.run(&dice, running.saturating_sub(max)), Turn::Failed(_)));
    }
}

#[test]
fn what_gets_another_volume_is_replaced_one_after_the_other() {
    let remounts = |number| Member {
        remounts: true,
        ..old(number, true)
    };
    let standby = Member {
        standby: true,
        ..remounts(9)
    };
    let rules = rules(Strategy::Rolling, Unavailable::default());
    let group = [group("app")];
    let turn = |members: &[Member]| next(&rules, &group, members, Stage::Machines);
    let mut members = vec![remounts(1), remounts(2), standby];
    assert_eq!(turn(&members), Turn::Act(vec![Step::Destroy(id(9))]));
    members.pop();
    assert_eq!(turn(&members), Turn::Act(vec![Step::Replace(id(1))]));
    members.push(Member {
        replaces: Some(id(1)),
        number: None,
        ..made(3, "app")
    });
    members[2].release = Some(Readiness::Waiting);
    assert_eq!(turn(&members), Turn::Wait);
    members[2].release = Some(Readiness::Up);
    assert_eq!(turn(&members), Turn::Act(vec![Step::Destroy(id(1))]));
    members.remove(0);
    assert_eq!(turn(&members), Turn::Act(vec![Step::Replace(id(2))]));
    members[0].leased = true;
    assert_eq!(turn(&members), Turn::Wait);
    // All are replaced: the group is not one without machines.
    members.remove(0);
    assert_eq!(turn(&members), Turn::Done);
}
