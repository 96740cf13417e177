use std::collections::{BTreeMap, HashMap};

use mayfly_machine::{
    Actor, CheckProbe, Exit, GuestRef, Identity, Launch, MachineSpec, Protocol, ServiceSpec,
    Version,
};
use mayfly_types::{AppId, NetworkId, OrgId};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn check(interval: u64, grace: u64) -> CheckSpec {
    CheckSpec {
        port: 80,
        interval: Duration::from_millis(interval),
        timeout: SECOND,
        grace_period: Duration::from_millis(grace),
        probe: CheckProbe::Tcp,
    }
}

/// A machine with one check of a service and one of its own.
fn machine(number: u8, check: &CheckSpec) -> Machine {
    let mut spec = MachineSpec::of_image("registry.test/app:1".parse().unwrap());
    let mut service = ServiceSpec::new(Protocol::Tcp, 8080);
    service.checks.push(check.clone());
    spec.services.push(service);
    spec.checks = BTreeMap::from([("own".to_owned(), check.clone())]);
    let identity = Identity {
        machine_id: MachineId::from_random([number; 14]),
        name: "one".into(),
        app_id: AppId::from_random([1; 16]),
        app_name: "app".parse().unwrap(),
        org_id: OrgId::from_random([1; 16]),
        org_slug: "personal".parse().unwrap(),
        network: NetworkId(1),
        region: "iad".parse().unwrap(),
        private_ip: "fdaa::1".parse().unwrap(),
        ipv4: [10, 0, 0, 1].into(),
        created_at: wall(Moment::ZERO),
    };
    let version = Version {
        instance_id: InstanceId::new(wall(Moment::ZERO), [0; 10]),
        spec,
        secrets: BTreeMap::new(),
    };
    Machine::create(identity, version, Launch::Now, false, Actor::User).next
}

/// Wall time runs as fast as monotonic time here.
fn wall(now: Moment) -> Timestamp {
    Timestamp::from_millis(1_000_000) + now
}

fn guest(launch: u8, now: Moment) -> GuestRef {
    GuestRef {
        launch_id: LaunchId::from_random([launch % 16; 12]),
        pid: 7,
        started_at: wall(now),
    }
}

fn stopped(now: Moment) -> Phase {
    Phase::Stopped {
        at: wall(now),
        exit: Some(Exit::unseen(wall(now))),
        cleaned: true,
    }
}

fn seen(passed: bool, reached: bool) -> Seen {
    Seen {
        passed,
        reached,
        output: format!("{passed} {reached}"),
    }
}

fn statuses(plan: &mut Plan, machine: &Machine) -> Vec<CheckStatus> {
    let reports = plan.reports(machine.identity.machine_id).unwrap();
    reports.iter().map(|report| report.status).collect()
}

#[test]
fn nothing_is_probed_in_grace_and_the_interval_counts_from_probe_to_probe() {
    let mut plan = Plan::default();
    let mut machine = machine(1, &check(10_000, 5_000));
    plan.see(&machine, Moment::ZERO, wall(Moment::ZERO));
    assert_eq!(plan.next_due(), None);
    let reports = plan.reports(machine.identity.machine_id).unwrap();
    let names: Vec<(&str, Option<u16>)> = reports
        .iter()
        .map(|report| (report.name.as_str(), report.service_port))
        .collect();
    assert_eq!(
        names,
        [("servicecheck-00-tcp-80", Some(8080)), ("own", None)]
    );

    machine.phase = Phase::Started {
        guest: guest(1, SECOND),
    };
    assert!(plan.see(&machine, SECOND, wall(SECOND)));
    assert_eq!(plan.next_due(), Some(6 * SECOND));
    assert!(plan.take(5 * SECOND).is_none());
    let first = plan.take(6 * SECOND).unwrap();
    let second = plan.take(6 * SECOND).unwrap();
    assert_eq!((first.of_service, second.of_service), (true, false));
    assert!(plan.take(60 * SECOND).is_none(), "both are under way");

    let turn = plan.finish(&first, seen(true, true), 8 * SECOND, wall(8 * SECOND));
    let Change::Status(turn) = turn else {
        panic!("{turn:?}")
    };
    assert_eq!(
        (turn.from, turn.to),
        (CheckStatus::Warning, CheckStatus::Passing)
    );
    assert_eq!(plan.next_due(), Some(16 * SECOND));
    assert_eq!(
        plan.finish(&first, seen(false, true), 9 * SECOND, wall(9 * SECOND)),
        Change::Nothing,
        "a result counts once"
    );
    // A probe that took longer than the interval is followed at once.
    plan.finish(&second, seen(false, true), 30 * SECOND, wall(30 * SECOND));
    assert_eq!(
        statuses(&mut plan, &machine),
        [CheckStatus::Passing, CheckStatus::Critical]
    );
    assert_eq!(
        plan.take(30 * SECOND).map(|ticket| ticket.of_service),
        Some(true)
    );
    assert_eq!(
        plan.take(30 * SECOND).map(|ticket| ticket.of_service),
        Some(false)
    );
}

#[test]
fn a_program_that_does_not_listen_yet_is_asked_again_soon() {
    let mut plan = Plan::default();
    let mut machine = machine(1, &check(15_000, 0));
    machine.phase = Phase::Started {
        guest: guest(1, Moment::ZERO),
    };
    plan.see(&machine, Moment::ZERO, wall(Moment::ZERO));
    let mut now = Moment::ZERO;
    let mut tries = 0;
    let mut critical_at = None;
    while now < 15 * SECOND {
        let ticket = plan.take(now).unwrap();
        let change = plan.finish(&ticket, seen(false, false), now, wall(now));
        if ticket.of_service {
            tries += 1;
            if matches!(change, Change::Status(_)) {
                critical_at = Some(now);
            }
        }
        now = plan.next_due().unwrap();
    }
    assert!(
        (8..25).contains(&tries),
        "{tries} tries in the first interval"
    );
    let critical_at = critical_at.unwrap();
    assert!(
        critical_at >= SECOND && critical_at < 2 * SECOND,
        "{critical_at:?}"
    );
}

#[test]
fn results_outlive_a_freeze_but_not_a_guest() {
    let mut plan = Plan::default();
    let mut machine = machine(1, &check(10_000, 0));
    let first = guest(1, Moment::ZERO);
    machine.phase = Phase::Started { guest: first };
    plan.see(&machine, Moment::ZERO, wall(Moment::ZERO));
    while let Some(ticket) = plan.take(Moment::ZERO) {
        plan.finish(&ticket, seen(true, true), Moment::ZERO, wall(Moment::ZERO));
    }
    let before = plan.reports(machine.identity.machine_id).unwrap();
    machine.phase = Phase::Suspended {
        guest: first,
        at: wall(SECOND),
    };
    plan.see(&machine, SECOND, wall(SECOND));
    assert_eq!(plan.next_due(), None);
    machine.phase = Phase::Started { guest: first };
    plan.see(&machine, 60 * SECOND, wall(60 * SECOND));
    assert_eq!(plan.next_due(), Some(60 * SECOND), "probed at once");
    let after = plan.reports(machine.identity.machine_id).unwrap();
    assert!(Arc::ptr_eq(&before, &after), "nothing to publish");

    let late = plan.take(60 * SECOND).unwrap();
    machine.phase = stopped(61 * SECOND);
    plan.see(&machine, 61 * SECOND, wall(61 * SECOND));
    assert_eq!(statuses(&mut plan, &machine), [CheckStatus::Warning; 2]);
    let change = plan.finish(&late, seen(false, true), 62 * SECOND, wall(62 * SECOND));
    assert_eq!(change, Change::Nothing);
    machine.phase = Phase::Destroyed {
        at: wall(63 * SECOND),
    };
    assert!(plan.see(&machine, 63 * SECOND, wall(63 * SECOND)));
    assert_eq!(plan.reports(machine.identity.machine_id), None);
}

#[derive(Clone, Debug)]
enum Action {
    Start(u8),
    Suspend(u8),
    Resume(u8),
    Stop(u8),
    Update(u8),
    Destroy(u8),
    Take,
    Finish {
        choice: u8,
        passed: bool,
        reached: bool,
    },
    Pass(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let machine = 0u8..3;
    prop_oneof![
        3 => machine.clone().prop_map(Action::Start),
        1 => machine.clone().prop_map(Action::Suspend),
        1 => machine.clone().prop_map(Action::Resume),
        1 => machine.clone().prop_map(Action::Stop),
        1 => machine.clone().prop_map(Action::Update),
        1 => machine.prop_map(Action::Destroy),
        8 => Just(Action::Take),
        8 => (any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(choice, passed, reached)| Action::Finish { choice, passed, reached: passed || reached }),
        6 => (0u64..4_000).prop_map(Action::Pass),
    ]
}

/// What the test knows of one check of one guest.
#[derive(Default)]
struct Known {
    last_begun: Option<Moment>,
    was_reached: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Over random lives: nothing is probed in grace or while no guest runs, no check twice at a time, none sooner than
    /// its interval unless nobody listens, nothing is critical within grace, results of guests that are gone mean
    /// nothing, and every check of a running guest is due or under way.
    #[test]
    fn probes_keep_their_times(
        interval in 1_000u64..5_000,
        grace in prop_oneof![Just(0u64), 500u64..6_000],
        actions in proptest::collection::vec(action(), 1..120),
    ) {
        let spec = check(interval, grace);
        let mut plan = Plan::default();
        let mut machines: Vec<Machine> = (0..3).map(|number| machine(number, &spec)).collect();
        let mut launches = 0u8;
        let mut under_way: Vec<(Ticket, LaunchId)> = Vec::new();
        let mut known: HashMap<(MachineId, usize, LaunchId), Known> = HashMap::new();
        let mut now = Moment::ZERO;
        for action in actions {
            match action {
                Action::Start(at) => {
                    let machine = &mut machines[usize::from(at)];
                    if matches!(machine.phase, Phase::Creating { .. } | Phase::Stopped { .. }) {
                        launches = launches.wrapping_add(1);
                        let mut guest = guest(0, now);
                        guest.launch_id = LaunchId::from_random(std::array::from_fn(|digit| (launches >> (digit % 8)) & 1));
                        machine.phase = Phase::Started { guest };
                    }
                }
                Action::Suspend(at) => {
                    let machine = &mut machines[usize::from(at)];
                    if let Phase::Started { guest } = machine.phase {
                        machine.phase = Phase::Suspended { guest, at: wall(now) };
                    }
                }
                Action::Resume(at) => {
                    let machine = &mut machines[usize::from(at)];
                    if let Phase::Suspended { guest, .. } = machine.phase {
                        machine.phase = Phase::Started { guest };
                        // A thawed machine is probed at once.
                        for (of_check, known) in &mut known {
                            if of_check.2 == guest.launch_id {
                                known.last_begun = None;
                            }
                        }
                    }
                }
                Action::Stop(at) => {
                    let machine = &mut machines[usize::from(at)];
                    if !matches!(machine.phase, Phase::Destroyed { .. }) {
                        machine.phase = stopped(now);
                    }
                }
                Action::Update(at) => {
                    let machine = &mut machines[usize::from(at)];
                    if matches!(machine.phase, Phase::Stopped { .. }) {
                        launches = launches.wrapping_add(1);
                        machine.version.instance_id = InstanceId::new(wall(now), [launches; 10]);
                    }
                }
                Action::Destroy(at) => {
                    machines[usize::from(at)].phase = Phase::Destroyed { at: wall(now) };
                }
                Action::Take => {
                    if let Some(ticket) = plan.take(now) {
                        let machine = machines.iter().find(|machine| machine.identity.machine_id == ticket.machine).unwrap();
                        let Phase::Started { guest } = machine.phase else {
                            return Err(TestCaseError::fail("probed without a guest"));
                        };
                        prop_assert!(wall(now).since(guest.started_at) >= spec.grace_period, "probed in grace");
                        let twice = under_way.iter().any(|(other, launch)| {
                            (other.machine, other.index, *launch, other.epoch) == (ticket.machine, ticket.index, guest.launch_id, ticket.epoch)
                        });
                        prop_assert!(!twice, "the same probe twice");
                        let of_check = known.entry((ticket.machine, ticket.index, guest.launch_id)).or_default();
                        if of_check.was_reached && let Some(before) = of_check.last_begun {
                            prop_assert!(now - before >= spec.interval, "probed before its interval");
                        }
                        of_check.last_begun = Some(now);
                        under_way.push((ticket, guest.launch_id));
                    }
                }
                Action::Finish { choice, passed, reached } => {
                    if under_way.is_empty() {
                        continue;
                    }
                    let (ticket, launch) = under_way.swap_remove(usize::from(choice) % under_way.len());
                    let machine = machines.iter().find(|machine| machine.identity.machine_id == ticket.machine).unwrap();
                    let current = match machine.phase {
                        Phase::Started { guest } if guest.launch_id == launch => Some(guest),
                        _ => None,
                    };
                    let change = plan.finish(&ticket, seen(passed, reached), now, wall(now));
                    match (current, &change) {
                        (None, change) => prop_assert_eq!(change, &Change::Nothing),
                        (Some(guest), Change::Status(turn)) => {
                            prop_assert_eq!(turn.to == CheckStatus::Passing, passed);
                            prop_assert_ne!(turn.from, turn.to);
                            if turn.to == CheckStatus::Critical {
                                prop_assert!(wall(now).since(guest.started_at) >= spec.grace_period);
                            }
                        }
                        _ => {}
                    }
                    if current.is_some() && reached {
                        known.entry((ticket.machine, ticket.index, launch)).or_default().was_reached = true;
                    }
                }
                Action::Pass(millis) => now += Duration::from_millis(millis),
            }
            for machine in &machines {
                plan.see(machine, now, wall(now));
                let is_running = matches!(machine.phase, Phase::Started { .. });
                if let Some(watched) = plan.machines.get(&machine.identity.machine_id) {
                    for check in &watched.checks {
                        prop_assert_eq!(check.turn != Turn::Idle, is_running);
                    }
                } else {
                    prop_assert!(!is_running);
                }
            }
            let waiting = plan.machines.values().flat_map(|watched| &watched.checks)
                .filter(|check| matches!(check.turn, Turn::Due(_))).count();
            let queued = plan.due.iter().filter(|Reverse(due)| plan.is_due(due)).count();
            prop_assert_eq!(waiting, queued, "a check that is due is in the queue");
        }
    }
}
