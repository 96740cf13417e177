use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
struct Machine {
    standing: Standing,
    distance: u16,
    load: u32,
    soft: u32,
    hard: u32,
}

impl Candidate for Machine {
    fn standing(&self) -> Standing {
        self.standing
    }

    fn load(&self) -> u32 {
        self.load
    }

    fn soft(&self) -> u32 {
        self.soft
    }

    fn hard(&self) -> u32 {
        self.hard
    }
}

const READY: Standing = Standing::Ready;
const STOPPED: Standing = Standing::Asleep(Asleep::Stopped);
const SUSPENDED: Standing = Standing::Asleep(Asleep::Suspended);

/// Soft limit 2, hard limit 4.
fn machine(standing: Standing, distance: u16, load: u32) -> Machine {
    Machine {
        standing,
        distance,
        load,
        soft: 2,
        hard: 4,
    }
}

fn chosen(machines: &[Machine], waiting: u32) -> Choice {
    choose(machines, |machine| Some(machine.distance), waiting, 7)
}

fn send(to: usize) -> Choice {
    Choice::Send { to, wake: None }
}

fn wait(wake: Option<usize>, on: Waiting) -> Choice {
    Choice::Wait { wake, on }
}

#[test]
fn limits_and_distance() {
    let m = machine;
    for (name, machines, waiting, expected) in [
        (
            "least loaded",
            vec![m(READY, 0, 1), m(READY, 0, 0)],
            1,
            send(1),
        ),
        (
            "below soft before less loaded above",
            vec![
                Machine {
                    soft: 1,
                    ..m(READY, 0, 1)
                },
                Machine {
                    soft: 9,
                    hard: 9,
                    ..m(READY, 0, 5)
                },
            ],
            1,
            send(1),
        ),
        (
            "soft limits shift nothing to other regions",
            vec![m(READY, 0, 3), m(READY, 9, 0)],
            1,
            send(0),
        ),
        (
            "hard limits do, to the nearest",
            vec![m(READY, 0, 4), m(READY, 9, 0), m(READY, 5, 1)],
            1,
            send(2),
        ),
        (
            "unhealthy ones do",
            vec![m(Standing::Out(Out::Unhealthy), 0, 0), m(READY, 9, 3)],
            1,
            send(1),
        ),
        (
            "doubtful after certain in a region",
            vec![m(Standing::Doubtful, 0, 0), m(READY, 0, 3)],
            1,
            send(1),
        ),
        (
            "doubtful before another region",
            vec![m(Standing::Doubtful, 0, 0), m(READY, 4, 0)],
            1,
            send(0),
        ),
        (
            "full everywhere waits for room",
            vec![m(READY, 0, 4), m(READY, 9, 4)],
            1,
            wait(None, Waiting::Room),
        ),
    ] {
        assert_eq!(chosen(&machines, waiting), expected, "{name}");
    }
}

#[test]
fn waking() {
    let m = machine;
    for (name, machines, waiting, expected) in [
        (
            "nothing is woken below the soft limit",
            vec![m(READY, 0, 1), m(SUSPENDED, 0, 0)],
            1,
            send(0),
        ),
        (
            "suspended first",
            vec![m(STOPPED, 0, 0), m(SUSPENDED, 0, 0)],
            1,
            Choice::Thaw { to: 1 },
        ),
        (
            "nearest first",
            vec![m(SUSPENDED, 9, 0), m(STOPPED, 0, 0)],
            1,
            wait(Some(1), Waiting::Start),
        ),
        (
            "at the soft limit one is woken beside",
            vec![m(READY, 0, 2), m(STOPPED, 0, 0)],
            1,
            Choice::Send {
                to: 0,
                wake: Some(1),
            },
        ),
        (
            "at the soft limit a suspended one takes it",
            vec![m(READY, 0, 2), m(SUSPENDED, 0, 0)],
            1,
            Choice::Thaw { to: 1 },
        ),
        (
            "one that comes is enough",
            vec![m(READY, 0, 2), m(Standing::Coming, 0, 0), m(STOPPED, 0, 0)],
            1,
            send(0),
        ),
        (
            "until there is more work",
            vec![m(READY, 0, 4), m(Standing::Coming, 0, 0), m(STOPPED, 0, 0)],
            1,
            wait(Some(2), Waiting::Room),
        ),
        (
            "an idle far one keeps far ones asleep",
            vec![m(READY, 0, 3), m(READY, 9, 0), m(STOPPED, 9, 0)],
            1,
            send(0),
        ),
        (
            "no idle one anywhere wakes a far one",
            vec![m(READY, 0, 3), m(READY, 9, 3), m(SUSPENDED, 9, 0)],
            1,
            Choice::Send {
                to: 0,
                wake: Some(2),
            },
        ),
        (
            "what leaves is waited for",
            vec![m(Standing::Leaving, 0, 0)],
            1,
            wait(None, Waiting::Start),
        ),
        (
            "nothing to wait for",
            vec![
                m(Standing::Out(Out::Cordoned), 0, 0),
                m(Standing::Out(Out::KeptAsleep), 0, 0),
            ],
            1,
            Choice::Refuse(Some(Out::KeptAsleep)),
        ),
        ("nobody", vec![], 1, Choice::Refuse(None)),
    ] {
        assert_eq!(chosen(&machines, waiting), expected, "{name}");
    }
}

#[test]
fn ties_are_broken_evenly() {
    let machines = [machine(READY, 0, 0); 3];
    let mut counts = [0u32; 3];
    for turn in 0..3000u32 {
        let random = turn.wrapping_mul(2_654_435_761);
        if let Choice::Send { to, .. } = choose(&machines, |_| Some(0), 1, random) {
            counts[to] += 1;
        }
    }
    assert!(
        counts.iter().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}

fn any_machine() -> impl Strategy<Value = Machine> {
    let standing = prop_oneof![
        Just(READY),
        Just(Standing::Doubtful),
        Just(STOPPED),
        Just(SUSPENDED),
        Just(Standing::Coming),
        Just(Standing::Leaving),
        Just(Standing::Out(Out::Cordoned)),
    ];
    (standing, 0u16..3, 0u32..6, 1u32..4, 0u32..4).prop_map(
        |(standing, distance, load, soft, more)| Machine {
            standing,
            distance,
            load: if matches!(standing, READY | Standing::Doubtful) {
                load
            } else {
                0
            },
            soft,
            hard: soft + more,
        },
    )
}

proptest! {
    #[test]
    fn no_choice_breaks_a_limit(machines in prop::collection::vec(any_machine(), 0..8), waiting in 1u32..20, random: u32) {
        let open = |machine: &Machine| matches!(machine.standing, Standing::Ready | Standing::Doubtful) && machine.load < machine.hard;
        match choose(&machines, |machine| Some(machine.distance), waiting, random) {
            Choice::Send { to, wake } => {
                prop_assert!(open(&machines[to]));
                let nearer = machines.iter().any(|machine| open(machine) && machine.distance < machines[to].distance);
                prop_assert!(!nearer);
                if let Some(wake) = wake {
                    prop_assert!(machines[to].load >= machines[to].soft);
                    prop_assert!(matches!(machines[wake].standing, Standing::Asleep(_)));
                }
            }
            Choice::Thaw { to } => prop_assert_eq!(machines[to].standing, SUSPENDED),
            Choice::Wait { wake, .. } => {
                prop_assert!(!machines.iter().any(open));
                if let Some(wake) = wake {
                    prop_assert_eq!(machines[wake].standing, STOPPED);
                }
            }
            Choice::Refuse(_) => prop_assert!(machines.iter().all(|machine| matches!(machine.standing, Standing::Out(_)))),
        }
    }

    /// However many requests arrive at once, only as many machines are woken as they fill to the soft limit.
    #[test]
    fn a_herd_wakes_no_more_than_it_fills(requests in 1u32..60, soft in 1u32..10, sleepers in 1usize..20, suspended: bool) {
        let kind = if suspended { SUSPENDED } else { STOPPED };
        let mut machines = vec![Machine { standing: kind, distance: 0, load: 0, soft, hard: u32::MAX }; sleepers];
        let mut woken = 0;
        let mut waiting = 0;
        for _ in 0..requests {
            waiting += 1;
            match choose(&machines, |_| Some(0), waiting, 1) {
                Choice::Thaw { to } => {
                    machines[to].standing = READY;
                    machines[to].load += 1;
                    woken += 1;
                    waiting -= 1;
                }
                Choice::Send { to, wake: None } => {
                    machines[to].load += 1;
                    waiting -= 1;
                }
                Choice::Wait { wake, .. } => if let Some(wake) = wake {
                    machines[wake].standing = Standing::Coming;
                    woken += 1;
                },
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let needed = requests.div_ceil(soft).min(u32::try_from(sleepers).unwrap());
        prop_assert_eq!(woken, needed);
    }
}
