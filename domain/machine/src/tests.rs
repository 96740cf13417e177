use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use proptest::prelude::*;

use super::*;

pub(crate) fn spec() -> MachineSpec {
    MachineSpec::of_image("nginx".parse().unwrap())
}

pub(crate) fn version(number: u8, spec: MachineSpec) -> Version {
    Version {
        instance_id: InstanceId::new(Timestamp::from_millis(0), [number; 10]),
        spec,
        secrets: BTreeMap::new(),
    }
}

pub(crate) fn identity() -> Identity {
    let host: HostId = "0000abcd".parse().unwrap();
    Identity {
        machine_id: MachineId::from_random([7; 14]),
        name: "m".into(),
        app_id: AppId::from_random([1; 16]),
        app_name: "app".parse().unwrap(),
        org_id: OrgId::from_random([2; 16]),
        org_slug: "personal".parse().unwrap(),
        network: NetworkId(1),
        region: "iad".parse().unwrap(),
        private_ip: private_ip(NetworkId(1), host, 1),
        ipv4: std::net::Ipv4Addr::new(100, 64, 0, 2),
        created_at: Timestamp::from_millis(1_000_000),
    }
}

fn created(spec: MachineSpec, launch: Launch) -> Machine {
    Machine::create(identity(), version(0, spec), launch, false, Actor::User).next
}

fn at(machine: &Machine, event: Event, seconds: i64) -> Decision {
    let now = Timestamp::from_millis(1_000_000 + seconds * 1000);
    step(machine, event, now).unwrap()
}

fn guest(machine: &Machine, seconds: i64) -> GuestRef {
    GuestRef {
        launch_id: machine.phase.launch_id().unwrap(),
        pid: 10,
        started_at: Timestamp::from_millis(1_000_000 + seconds * 1000),
    }
}

fn exit(machine: &Machine, code: i32, seconds: i64) -> Event {
    Event::Exited {
        launch_id: machine.phase.launch_id().unwrap(),
        exit: Exit {
            code: Some(code),
            ..Exit::unseen(Timestamp::from_millis(1_000_000 + seconds * 1000))
        },
    }
}

fn started(spec: MachineSpec) -> Machine {
    let starting = at(&created(spec, Launch::Now), Event::Prepared, 0).next;
    let guest = guest(&starting, 1);
    at(&starting, Event::Launched { guest }, 1).next
}

const STOP: Event = Event::Stop {
    signal: None,
    patience: None,
    by: Actor::User,
};

#[test]
fn a_skipped_machine_is_stopped_soon() {
    let machine = created(spec(), Launch::Skip);
    assert_eq!(machine.state(), MachineState::Created);
    assert_eq!(
        at(&machine, Event::Prepared, 0).next.state(),
        MachineState::Stopped
    );
}

#[test]
fn a_stop_signals_waits_and_kills() {
    let machine = started(spec());
    let stopping = at(&machine, STOP, 10).next;
    let launch_id = stopping.phase.launch_id().unwrap();
    let when = |seconds: i64| Timestamp::from_millis(1_000_000 + seconds * 1000);
    let watch = Effect::Watch { launch_id };
    let signal = Effect::Signal {
        launch_id,
        signal: Signal::INT,
    };
    assert_eq!(pending(&stopping, when(10)), [signal, watch]);
    let asked = at(&stopping, Event::Signalled { launch_id }, 10).next;
    assert_eq!(pending(&asked, when(14)), [watch]);
    assert_eq!(wake_at(&asked, when(14)), Some(when(15)));
    assert_eq!(
        pending(&asked, when(15)),
        [Effect::Kill { launch_id }, watch]
    );
    let stopped = at(&asked, exit(&asked, 0, 12), 12);
    assert_eq!(stopped.next.state(), MachineState::Stopped);
    let EventKind::Exit(event) = &stopped.happenings[0].kind else {
        panic!("{:?}", stopped.happenings);
    };
    assert!(event.requested_stop && !event.restarting);
}

#[test]
fn failures_are_restarted_up_to_the_limit() {
    let mut spec = spec();
    spec.restart.max_retries = Some(3);
    let mut machine = started(spec);
    let mut starts = 1;
    let mut seconds = 2;
    loop {
        machine = at(&machine, exit(&machine, 1, seconds), seconds).next;
        if machine.state() == MachineState::Stopped {
            break;
        }
        seconds += 60;
        machine = at(&machine, Event::Tick, seconds).next;
        let guest = guest(&machine, seconds);
        machine = at(&machine, Event::Launched { guest }, seconds).next;
        starts += 1;
    }
    assert_eq!((starts, machine.restarts), (4, 3));
}

#[test]
fn an_update_keeps_the_old_guest_until_the_image_is_there() {
    let machine = started(spec());
    let update = |number| Event::Update {
        version: Box::new(version(number, spec())),
        launch: Launch::Now,
        by: Actor::User,
    };
    let updating = at(&machine, update(1), 5).next;
    assert_eq!(updating.state(), MachineState::Updating);
    let now = Timestamp::from_millis(1_005_000);
    assert_eq!(
        step(&updating, update(2), now),
        Err(Refusal::UpdateInProgress)
    );
    let replacing = at(&updating, Event::Prepared, 6).next;
    assert_eq!(replacing.state(), MachineState::Replacing);
    let starting = at(&replacing, exit(&replacing, 0, 7), 7).next;
    assert_eq!(starting.state(), MachineState::Starting);
    assert_ne!(starting.phase.launch_id(), machine.phase.launch_id());

    let failed = Event::PrepareFailed {
        fault: Fault::Guest,
        reason: "no such image".into(),
    };
    let undone = at(&updating, failed, 6).next;
    assert_eq!(
        (undone.state(), undone.version),
        (MachineState::Started, machine.version)
    );
}

#[test]
fn a_reboot_restarts_what_ran_and_stops_what_was_suspended() {
    let mut machine = started(spec());
    machine.restarts = 4;
    let booted = at(&machine, Event::Rebooted, 20).next;
    assert_eq!(
        (booted.state(), booted.restarts),
        (MachineState::Starting, 4)
    );
    let suspending = at(&machine, Event::Suspend { by: Actor::User }, 20).next;
    let launch_id = suspending.phase.launch_id().unwrap();
    let suspended = at(&suspending, Event::Frozen { launch_id }, 20).next;
    assert_eq!(suspended.state(), MachineState::Suspended);
    assert_eq!(
        at(&suspended, Event::Rebooted, 30).next.state(),
        MachineState::Stopped
    );
}

#[test]
fn a_schedule_starts_skips_and_records() {
    let mut spec = spec();
    spec.schedule = Some("hourly".into());
    let machine = started(spec);
    let busy = at(&machine, Event::Tick, 3600);
    let due_at = Timestamp::from_millis(1_000_000 + 3_600_000);
    assert_eq!(busy.runs, [RunChange::Skipped { due_at }]);
    let ended = at(&busy.next, exit(&busy.next, 0, 3700), 3700);
    assert_eq!(
        ended.runs,
        [RunChange::Exited {
            due_at: identity().created_at,
            exit_code: Some(0)
        }]
    );
    let due = at(&ended.next, Event::Tick, 7300);
    assert_eq!(due.next.state(), MachineState::Starting);
    assert_eq!(due.runs.len(), 1);
    assert_eq!(
        due.next.timetable.unwrap().next_at,
        due_at + Duration::from_secs(7200)
    );
}

#[test]
fn what_destroys_itself_goes_when_no_restart_is_due() {
    let mut spec = spec();
    spec.auto_destroy = true;
    let machine = started(spec);
    assert_eq!(
        at(&machine, exit(&machine, 0, 5), 5).next.state(),
        MachineState::Destroying
    );
    assert_eq!(
        at(&machine, exit(&machine, 1, 5), 5).next.state(),
        MachineState::Restarting
    );
}

/// An action of the property test: a request, or the next pending effect with one of its outcomes, or time.
#[derive(Clone, Debug)]
enum Action {
    Request(u8),
    Effect(u8),
    Observe(u8),
    Crash,
    Reboot,
    Pass(u32),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0u8..12).prop_map(Action::Request),
        6 => any::<u8>().prop_map(Action::Effect),
        1 => any::<u8>().prop_map(Action::Observe),
        1 => Just(Action::Crash),
        1 => Just(Action::Reboot),
        2 => (0u32..400_000).prop_map(Action::Pass),
    ]
}

fn request(number: u8, salt: u8, spec: MachineSpec) -> Event {
    let by = Actor::User;
    match number {
        0 | 1 => Event::Start { by },
        2 => STOP,
        3 => Event::Stop {
            signal: Some(Signal::KILL),
            patience: None,
            by,
        },
        4 => Event::Restart {
            force: false,
            signal: None,
            patience: None,
            by,
        },
        5 => Event::Restart {
            force: true,
            signal: None,
            patience: None,
            by,
        },
        6 => Event::Suspend { by },
        7 => Event::Update {
            version: Box::new(version(salt, spec)),
            launch: Launch::Now,
            by,
        },
        8 => Event::Update {
            version: Box::new(version(salt, spec)),
            launch: Launch::Skip,
            by,
        },
        9 => Event::Cordon {
            cordoned: salt.is_multiple_of(2),
            by,
        },
        10 => Event::Destroy { kill: false, by },
        _ => Event::Destroy { kill: true, by },
    }
}

/// What a guest and its host would answer to an effect.
fn outcome(effect: Effect, choice: u8, now: Timestamp) -> Option<Event> {
    let fault = if choice & 1 == 0 {
        Fault::Guest
    } else {
        Fault::Host
    };
    let fails = choice >= 200;
    let reason = || "broken".to_owned();
    Some(match effect {
        Effect::Prepare { .. } if fails => Event::PrepareFailed {
            fault,
            reason: reason(),
        },
        Effect::Prepare { .. } => Event::Prepared,
        Effect::Launch { launch_id } if fails => Event::LaunchFailed {
            launch_id,
            fault,
            reason: reason(),
        },
        Effect::Launch { launch_id } => Event::Launched {
            guest: GuestRef {
                launch_id,
                pid: 1,
                started_at: now,
            },
        },
        Effect::Signal { .. }
        | Effect::Clean
        | Effect::Kill { .. }
        | Effect::Remove
        | Effect::Thaw { .. }
            if fails =>
        {
            return None;
        }
        Effect::Signal { launch_id, .. } => Event::Signalled { launch_id },
        Effect::Kill { launch_id } | Effect::Watch { launch_id } => Event::Exited {
            launch_id,
            exit: Exit {
                code: Some(i32::from(choice & 1)),
                ..Exit::unseen(now)
            },
        },
        Effect::Freeze { launch_id } if fails => Event::FreezeFailed { launch_id },
        Effect::Freeze { launch_id } => Event::Frozen { launch_id },
        Effect::Thaw { launch_id } => Event::Thawed { launch_id },
        Effect::Clean => Event::Cleaned,
        Effect::Remove => Event::Removed,
        Effect::Observe => Event::Observed { body: Body::Absent },
    })
}

fn shape() -> impl Strategy<Value = MachineSpec> {
    (any::<bool>(), any::<bool>(), 0u8..3, any::<bool>()).prop_map(
        |(auto_destroy, scheduled, mode, limited)| {
            let mut spec = spec();
            spec.auto_destroy = auto_destroy;
            spec.schedule = scheduled.then(|| "*/7 * * * *".to_owned());
            spec.restart.mode =
                [RestartMode::No, RestartMode::OnFailure, RestartMode::Always][usize::from(mode)];
            spec.restart.max_retries = limited.then_some(2);
            spec
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Over random lives: destroyed is final, launch ids never repeat, stored machines read back equal, repeated
    /// requests and stale observations change nothing, and every phase that is not settled waits for something.
    #[test]
    fn every_life_is_legal(
        spec in shape(),
        launch in prop_oneof![Just(Launch::Now), Just(Launch::Skip)],
        actions in proptest::collection::vec((action(), any::<u8>()), 1..80),
    ) {
        let mut now = identity().created_at;
        let mut machine = created(spec.clone(), launch);
        for (index, (action, salt)) in actions.into_iter().enumerate() {
            let is_crash = matches!(action, Action::Crash);
            let is_request = matches!(action, Action::Request(_));
            let event = match action {
                Action::Request(number) => request(number, u8::try_from(index).unwrap() + 1, spec.clone()),
                Action::Effect(choice) => {
                    let effects = pending(&machine, now);
                    let Some(effect) = effects.get(usize::from(salt) % effects.len().max(1)) else { continue };
                    let Some(event) = outcome(*effect, choice, now) else { continue };
                    event
                }
                Action::Observe(choice) => {
                    let Some(launch_id) = machine.phase.launch_id() else { continue };
                    let guest = GuestRef { launch_id, pid: 2, started_at: now };
                    let body = [Body::Absent, Body::Running(guest), Body::Frozen(guest),
                        Body::Exited { launch_id, exit: Exit::unseen(now) }];
                    Event::Observed { body: body[usize::from(choice) % 4].clone() }
                }
                Action::Crash => Event::Tick,
                Action::Reboot => Event::Rebooted,
                Action::Pass(millis) => {
                    now = now + Duration::from_millis(millis.into());
                    Event::Tick
                }
            };
            if is_crash {
                let stored = serde_json::to_string(&machine).unwrap();
                let read: Machine = serde_json::from_str(&stored).unwrap();
                prop_assert_eq!(&read, &machine);
                machine = read;
            }
            let was_destroyed = machine.state() == MachineState::Destroyed;
            let decided = step(&machine, event.clone(), now);
            prop_assert_eq!(&decided, &step(&machine, event.clone(), now), "decisions are functions");
            let Ok(decision) = decided else { continue };
            if was_destroyed {
                prop_assert_eq!(&decision.next, &machine);
                prop_assert!(decision.happenings.is_empty() && decision.runs.is_empty());
            }
            prop_assert!(decision.next.launches >= machine.launches);
            prop_assert!(decision.next.launches <= machine.launches + 1);
            if is_request && let Ok(again) = step(&decision.next, event, now) {
                prop_assert_eq!(&again.next.phase, &decision.next.phase, "repeats change nothing");
                prop_assert!(again.runs.is_empty());
            }
            machine = decision.next;

            let effects = pending(&machine, now);
            let acts = effects.iter().filter(|effect| !matches!(effect, Effect::Watch { .. })).count();
            prop_assert!(acts <= 1, "one thing at a time: {:?}", effects);
            if !machine.state().is_settled() || machine.state() == MachineState::Created {
                prop_assert!(!effects.is_empty() || wake_at(&machine, now).is_some(), "stuck in {:?}", machine.phase);
            }
            if let Some(guest) = machine.phase.guest() {
                let watch = Effect::Watch { launch_id: guest.launch_id };
                prop_assert!(effects.contains(&watch), "nobody watches {:?}", machine.phase);
            }
        }
    }

    /// From anywhere, a host whose effects succeed brings the machine to rest.
    #[test]
    fn every_life_settles(
        spec in shape(),
        requests in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..4), 0..12),
    ) {
        let mut spec = spec;
        spec.schedule = None;
        let mut now = identity().created_at;
        let mut machine = created(spec.clone(), Launch::Now);
        let perform = |machine: &Machine, now: Timestamp| {
            let effect = pending(machine, now).into_iter().find(|effect| !matches!(effect, Effect::Watch { .. }));
            effect.and_then(|effect| outcome(effect, 0, now))
        };
        for (index, (number, _, steps)) in requests.into_iter().enumerate() {
            if let Ok(decision) = step(&machine, request(number, u8::try_from(index).unwrap() + 1, spec.clone()), now) {
                machine = decision.next;
            }
            for _ in 0..steps {
                if let Some(event) = perform(&machine, now) {
                    machine = step(&machine, event, now).unwrap().next;
                }
            }
        }
        for _ in 0..40 {
            match perform(&machine, now) {
                Some(event) => machine = step(&machine, event, now).unwrap().next,
                None => match wake_at(&machine, now) {
                    Some(at) => {
                        now = now.max(at);
                        machine = step(&machine, Event::Tick, now).unwrap().next;
                    }
                    None => break,
                },
            }
        }
        prop_assert!(machine.state().is_settled(), "{:?}", machine.phase);
        prop_assert_eq!(pending(&machine, now).iter().filter(|effect| !matches!(effect, Effect::Watch { .. })).count(), 0);
    }
}
