//! Every operation, failed and crashed at each of its steps.

use std::time::Duration;

use mayfly_db::{Db, DbError};
use mayfly_driver::fake::{Edge, Ending, Fault};
use mayfly_host_api::{Actor, HostApi, Launch, RestartMachine};
use mayfly_machine::{MachineState, RestartMode};
use mayfly_testing::wait_until;
use mayfly_types::HostSeq;

use crate::volumes;
use crate::world::{World, id, spec};

/// One operation: where it begins, what is asked, and where it must end.
struct Operation {
    name: &'static str,
    prepare: fn(&World),
    operate: fn(&World),
    wanted: MachineState,
    /// Launches that must have taken effect in the end, with those of the preparation.
    launches: usize,
}

/// What happens to the driver's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    FailBefore,
    FailAfter,
    CrashBefore,
    CrashAfter,
}

/// More driver calls than any operation makes: the sweep ends earlier, when nothing is left to disturb.
const CALLS_MAX: usize = 30;

/// Runs the operation undisturbed, then disturbed at each call of the driver in turn, and compares the ends.
fn prove_operation(operation: &Operation) {
    let expected = undisturbed(operation);
    std::thread::scope(|threads| {
        for trouble in [
            Trouble::FailBefore,
            Trouble::FailAfter,
            Trouble::CrashBefore,
            Trouble::CrashAfter,
        ] {
            let expected = &expected;
            threads.spawn(move || {
                for number in 0..CALLS_MAX {
                    if !disturbed(operation, trouble, number, expected) {
                        assert!(number > 0, "{}: no call was disturbed", operation.name);
                        return;
                    }
                }
                panic!("{}: the sweep does not end", operation.name);
            });
        }
    });
}

fn undisturbed(operation: &Operation) -> Vec<String> {
    let world = World::new();
    (operation.prepare)(&world);
    (operation.operate)(&world);
    world.wait(1, operation.wanted);
    settle(&world, operation);
    check(&world, operation, "undisturbed");
    world.history(1)
}

/// False if the operation ended without making call `number`.
fn disturbed(operation: &Operation, trouble: Trouble, number: usize, expected: &[String]) -> bool {
    let what = format!("{} with {trouble:?} at call {number}", operation.name);
    let mut world = World::new();
    (operation.prepare)(&world);
    settle_calls(&world);
    let begun = world.driver.calls().len();
    let edge = match trouble {
        Trouble::FailBefore | Trouble::CrashBefore => Edge::Before,
        Trouble::FailAfter | Trouble::CrashAfter => Edge::After,
    };
    let reached = match trouble {
        Trouble::FailBefore | Trouble::FailAfter => {
            world
                .driver
                .fail_number(number, edge, Fault::Host("trouble".into()));
            (operation.operate)(&world);
            world.wait(1, operation.wanted);
            settle(&world, operation);
            world.driver.calls().len() > begun + number
        }
        Trouble::CrashBefore | Trouble::CrashAfter => {
            let hold = world.driver.hold_number(number, edge);
            (operation.operate)(&world);
            let mut reached = false;
            wait_until(&what, || {
                reached = hold.is_reached();
                reached || is_settled(&world, operation)
            });
            if reached {
                world.crash();
                drop(hold);
                world.start_again();
            }
            world.wait(1, operation.wanted);
            settle(&world, operation);
            reached
        }
    };
    check(&world, operation, &what);
    assert_eq!(world.history(1), expected, "{what}");
    reached
}

fn is_settled(world: &World, operation: &Operation) -> bool {
    world.state(1) == operation.wanted && {
        let calls = world.driver.calls().len();
        std::thread::sleep(Duration::from_millis(60));
        calls == world.driver.calls().len()
    }
}

/// The last effects of a phase (cleaning up, watching) may come after the phase is reached.
fn settle(world: &World, operation: &Operation) {
    wait_until("the operation settles", || is_settled(world, operation));
}

fn settle_calls(world: &World) {
    wait_until("the preparation settles", || {
        let calls = world.driver.calls().len();
        std::thread::sleep(Duration::from_millis(60));
        calls == world.driver.calls().len()
    });
}

fn check(world: &World, operation: &Operation, what: &str) {
    let runs = matches!(
        operation.wanted,
        MachineState::Started | MachineState::Suspended
    );
    assert_eq!(world.report(1).pid.is_some(), runs, "{what}");
    assert_eq!(world.driver.launches(id(1)), operation.launches, "{what}");
    let seqs: Vec<HostSeq> = world.events().iter().map(|event| event.seq).collect();
    let gapless: Vec<HostSeq> = (1..).take(seqs.len()).map(HostSeq).collect();
    assert_eq!(seqs, gapless, "{what}");
    let last = world.events().pop().unwrap();
    assert_eq!(last.report.state, operation.wanted, "{what}");
    assert_eq!(world.report(1).seq, last.seq, "{what}");
    if operation.wanted == MachineState::Destroyed {
        let held = world.call(async |_| world.held().await);
        assert!(held.is_empty(), "{what}: {held:?}");
    }
}

fn nothing(_: &World) {}

fn run_one(world: &World) {
    world.started(1, spec());
}

fn run_and_stop(world: &World) {
    world.started(1, spec());
    world.stop(1);
    world.wait(1, MachineState::Stopped);
}

fn suspend(world: &World) {
    world
        .call(async |host| host.suspend(id(1), Actor::User).await)
        .unwrap();
}

#[test]
fn create() {
    prove_operation(&Operation {
        name: "create",
        prepare: nothing,
        operate: |world| {
            world.create(1, spec(), Launch::Now);
        },
        wanted: MachineState::Started,
        launches: 1,
    });
}

#[test]
fn create_without_launch() {
    prove_operation(&Operation {
        name: "create without launch",
        prepare: nothing,
        operate: |world| {
            world.create(1, spec(), Launch::Skip);
        },
        wanted: MachineState::Stopped,
        launches: 0,
    });
}

#[test]
fn start() {
    prove_operation(&Operation {
        name: "start",
        prepare: run_and_stop,
        operate: |world| {
            world.start(1);
        },
        wanted: MachineState::Started,
        launches: 2,
    });
}

#[test]
fn start_with_a_volume() {
    prove_operation(&Operation {
        name: "start with a volume",
        prepare: |world| {
            volumes::make(world, 1).unwrap();
            world.create(1, volumes::spec_with(1), Launch::Skip);
            world.wait(1, MachineState::Stopped);
        },
        operate: |world| {
            world.start(1);
        },
        wanted: MachineState::Started,
        launches: 1,
    });
}

#[test]
fn stop() {
    prove_operation(&Operation {
        name: "stop",
        prepare: run_one,
        operate: |world| {
            world.stop(1);
        },
        wanted: MachineState::Stopped,
        launches: 1,
    });
}

#[test]
fn stop_of_a_guest_that_does_not_listen() {
    prove_operation(&Operation {
        name: "stop by force",
        prepare: |world| {
            let mut spec = spec();
            spec.stop.patience = Duration::from_millis(80);
            world.started(1, spec);
            world.driver.stubborn(id(1));
        },
        operate: |world| {
            world.stop(1);
        },
        wanted: MachineState::Stopped,
        launches: 1,
    });
}

#[test]
fn suspend_and_resume() {
    prove_operation(&Operation {
        name: "suspend",
        prepare: run_one,
        operate: suspend,
        wanted: MachineState::Suspended,
        launches: 1,
    });
    prove_operation(&Operation {
        name: "resume",
        prepare: |world| {
            run_one(world);
            suspend(world);
            world.wait(1, MachineState::Suspended);
        },
        operate: |world| {
            world.start(1);
        },
        wanted: MachineState::Started,
        launches: 1,
    });
}

#[test]
fn restart() {
    prove_operation(&Operation {
        name: "restart",
        prepare: run_one,
        operate: |world| {
            let request = RestartMachine {
                force: false,
                signal: None,
                patience: None,
                by: Actor::User,
            };
            world
                .call(async |host| host.restart(id(1), request).await)
                .unwrap();
        },
        wanted: MachineState::Started,
        launches: 2,
    });
}

#[test]
fn update() {
    prove_operation(&Operation {
        name: "update",
        prepare: run_one,
        operate: |world| {
            let mut spec = spec();
            spec.env.insert("NEW".into(), "1".into());
            world.update(1, spec).unwrap();
        },
        wanted: MachineState::Started,
        launches: 2,
    });
}

#[test]
fn destroy() {
    prove_operation(&Operation {
        name: "destroy",
        prepare: run_one,
        operate: |world| {
            world
                .call(async |host| host.destroy(id(1), true, Actor::User).await)
                .unwrap();
        },
        wanted: MachineState::Destroyed,
        launches: 0,
    });
}

#[test]
fn auto_destroy() {
    prove_operation(&Operation {
        name: "auto-destroy",
        prepare: |world| {
            let mut spec = spec();
            spec.auto_destroy = true;
            world.started(1, spec);
        },
        operate: |world| {
            assert!(world.driver.end(id(1), Ending::Code(0)));
        },
        wanted: MachineState::Destroyed,
        launches: 0,
    });
}

#[test]
fn restart_by_policy() {
    prove_operation(&Operation {
        name: "restart by policy",
        prepare: |world| {
            let mut spec = spec();
            spec.restart.mode = RestartMode::Always;
            world.started(1, spec);
        },
        operate: |world| {
            assert!(world.driver.end(id(1), Ending::Code(7)));
            world.wait(1, MachineState::Restarting);
        },
        wanted: MachineState::Started,
        launches: 2,
    });
}

#[test]
fn schedule() {
    prove_operation(&Operation {
        name: "schedule",
        prepare: |world| {
            let mut spec = spec();
            spec.schedule = Some("hourly".into());
            world.create(1, spec, Launch::Skip);
            world.wait(1, MachineState::Stopped);
        },
        operate: |world| {
            world.clock.advance(Duration::from_secs(3600));
            world.poke(1);
            wait_until("the run begins", || world.state(1) != MachineState::Stopped);
        },
        wanted: MachineState::Started,
        launches: 1,
    });
}

/// The journal refuses to store machines for a while: requests fail and change nothing, what guests did is not lost.
#[test]
fn a_journal_that_cannot_be_written() {
    let world = World::new();
    world.started(1, spec());
    world.started(2, spec());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let run = |sql: &'static str| {
        let url = format!("sqlite://{}", world.journal().display());
        runtime.block_on(async {
            let db = Db::open(&url).await.unwrap();
            db.write(move |tx| -> Result<(), DbError> { tx.execute(sql, &[]).map(|_| ()) })
                .await
                .unwrap();
        });
    };
    let events = world.events().len();
    run("CREATE TRIGGER full BEFORE UPDATE ON machine BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    let refused = world.call(async |host| host.stop(id(1), crate::world::STOP).await);
    assert!(refused.is_err());
    assert_eq!(world.state(1), MachineState::Started);
    assert!(world.driver.end(id(2), Ending::Code(0)));
    assert_eq!(world.events().len(), events, "nothing was half stored");
    run("DROP TRIGGER full");
    world.wait(2, MachineState::Stopped);
    assert_eq!(world.history(2), ["launch", "start", "exit"]);
    world.stop(1);
    world.wait(1, MachineState::Stopped);
}
