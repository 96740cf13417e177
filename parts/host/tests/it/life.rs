use std::time::Duration;

use mayfly_driver::fake::{Call, Edge, Ending, Fault};
use mayfly_host::Overcommit;
use mayfly_host_api::{Actor, HostApi, HostError, Launch, Refusal};
use mayfly_machine::{ContainerSpec, MachineState, ProcessSpec, RestartMode};
use mayfly_testing::wait_until;
use mayfly_types::ErrorKind;

use crate::world::{World, id, spec};

#[test]
fn a_guest_gets_its_command_environment_and_files() {
    let world = World::new();
    let mut spec = spec();
    spec.env.insert("GREETING".into(), "hello".into());
    spec.init.cmd = Some(vec!["/bin/other".into()]);
    world.started(1, spec);
    let launch = world.driver.last_launch(id(1)).unwrap();
    let process = &launch.spec.containers[0].processes[0];
    assert_eq!(process.argv, ["/bin/other"]);
    assert_eq!(process.env["GREETING"], "hello");
    assert_eq!(process.env["FLY_MACHINE_ID"], id(1).to_string());
    assert_eq!(process.env["FLY_REGION"], "iad");
    assert!(launch.spec.etc_resolv_conf.contains("fdaa::3"));
    assert_eq!(launch.images.len(), 1);
    let body = world.driver.body(id(1)).unwrap();
    assert!(mayfly_mesh::Ipv4Pool::numbered(3).contains(body.ipv4));
    let report = world.report(1);
    assert!(
        report.private_ip.starts_with("fdaa:0:7:"),
        "{}",
        report.private_ip
    );
}

#[test]
fn several_containers_are_launched_together() {
    let world = World::new();
    let mut spec = spec();
    for name in ["web", "helper"] {
        spec.containers.push(ContainerSpec {
            name: name.into(),
            image: spec.image.clone(),
            process: ProcessSpec::default(),
            files: Vec::new(),
            restart: None,
            stop: None,
            depends_on: Vec::new(),
            healthchecks: Vec::new(),
        });
    }
    world.started(1, spec);
    let names: Vec<String> = world
        .report(1)
        .containers
        .into_iter()
        .map(|container| container.name)
        .collect();
    assert_eq!(names, ["web", "helper"]);
}

#[test]
fn retries_end_at_the_limit() {
    let world = World::new();
    let mut spec = spec();
    spec.restart.max_retries = Some(2);
    world.started(1, spec);
    for launches in 1..=3 {
        wait_until("the guest runs", || {
            world.driver.launches(id(1)) == launches && world.state(1) == MachineState::Started
        });
        assert!(world.driver.end(id(1), Ending::Code(1)));
    }
    world.wait(1, MachineState::Stopped);
    assert_eq!(
        world.history(1),
        [
            "launch",
            "start",
            "exit restarting",
            "start",
            "exit restarting",
            "start",
            "exit"
        ]
    );
}

#[test]
fn a_first_launch_that_cannot_work_is_told_and_goes_away() {
    let world = World::new();
    let reason = "exec /bin/app: no such file";
    world
        .driver
        .fail_next(Call::Launch, Edge::Before, Fault::Guest(reason.into()));
    world.create(1, spec(), Launch::Now);
    let report = world.wait(1, MachineState::LaunchFailed);
    assert_eq!(report.failure.as_deref(), Some(reason));
    world.clock.advance(Duration::from_secs(301));
    world.poke(1);
    world.wait(1, MachineState::Destroyed);
}

#[test]
fn a_later_launch_that_cannot_work_fails_and_can_be_tried_again() {
    let world = World::new();
    world.create(1, spec(), Launch::Skip);
    world.wait(1, MachineState::Stopped);
    world
        .driver
        .fail_next(Call::Launch, Edge::Before, Fault::Guest("no".into()));
    world.start(1);
    world.wait(1, MachineState::Failed);
    world.start(1);
    world.wait(1, MachineState::Started);
}

#[test]
fn an_image_that_is_not_there_is_a_reason() {
    let world = World::new();
    let mut spec = spec();
    let digest = format!("registry.invalid/none@sha256:{}", "00".repeat(32));
    spec.image = digest.parse().unwrap();
    world.create(1, spec, Launch::Now);
    wait_until("the machine waits or failed", || {
        world.state(1) != MachineState::Created
    });
    let destroyed = world.call(async |host| host.destroy(id(1), false, Actor::User).await);
    destroyed.unwrap();
    world.wait(1, MachineState::Destroyed);
}

#[test]
fn a_reboot_starts_what_ran_and_stops_what_slept() {
    let mut world = World::new();
    for number in 1..=3 {
        world.started(number, spec());
    }
    world
        .call(async |host| host.suspend(id(2), Actor::User).await)
        .unwrap();
    world.wait(2, MachineState::Suspended);
    world.stop(3);
    world.wait(3, MachineState::Stopped);
    world.reboot();
    wait_until("the first runs anew", || {
        world.driver.launches(id(1)) == 2 && world.state(1) == MachineState::Started
    });
    world.wait(2, MachineState::Stopped);
    assert_eq!(world.state(3), MachineState::Stopped);
    assert_eq!(world.driver.launches(id(3)), 1);
}

#[test]
fn a_restarted_daemon_finds_guests_running_and_exits_recorded() {
    let mut world = World::new();
    world.started(1, spec());
    world.started(2, spec());
    let pid = world.report(1).pid;
    world.crash();
    assert!(world.driver.end(id(2), Ending::Code(0)));
    world.start_again();
    world.wait(2, MachineState::Stopped);
    assert_eq!(world.report(1).pid, pid);
    world.stop_and_start();
    assert_eq!(world.report(1).pid, pid);
    assert_eq!(world.driver.launches(id(1)), 1);
}

#[test]
fn what_the_journal_does_not_know_is_removed() {
    let mut world = World::new();
    world.started(1, spec());
    let known = world.driver.body(id(1)).unwrap();
    let orphan = mayfly_driver::Body {
        machine_id: id(9),
        ..known
    };
    world.call(async |_| world.provision(&orphan).await);
    world.restart();
    wait_until("the orphan is gone", || world.driver.body(id(9)).is_none());
    assert_eq!(world.state(1), MachineState::Started);
}

#[test]
fn memory_is_refused_when_overcommit_is() {
    let world = World::with(Overcommit::Forbid);
    for number in 1..=4 {
        world.started(number, spec());
    }
    let refused = world.try_create(5, spec(), Launch::Now).unwrap_err();
    assert!(matches!(
        refused,
        HostError::Refused(Refusal::NoCapacity(_))
    ));
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    world.stop(1);
    world.wait(1, MachineState::Stopped);
    world.started(5, spec());
}

#[test]
fn requests_the_state_forbids_are_refused_by_name() {
    let world = World::new();
    world.started(1, spec());
    let refused = world.call(async |host| host.destroy(id(1), false, Actor::User).await);
    assert!(matches!(
        refused,
        Err(HostError::Refused(Refusal::NotIn { .. }))
    ));
    let hold = world.driver.hold_next(Call::Provision, Edge::Before);
    world.update(1, spec()).unwrap();
    let second = world.update(1, spec());
    assert!(matches!(
        second,
        Err(HostError::Refused(Refusal::UpdateInProgress))
    ));
    drop(hold);
    wait_until("the update is done", || world.driver.launches(id(1)) == 2);
    let unknown = world.call(async |host| host.report(id(9)).await);
    assert!(matches!(unknown, Err(HostError::UnknownMachine(_))));
    world.wait(1, MachineState::Started);
    world
        .call(async |host| host.destroy(id(1), true, Actor::User).await)
        .unwrap();
    world.wait(1, MachineState::Destroyed);
    let again = world.call(async |host| host.destroy(id(1), false, Actor::User).await);
    assert_eq!(again.unwrap().state, MachineState::Destroyed);
    assert!(
        world
            .call(async |host| host.start(id(1), Actor::User).await)
            .is_err()
    );
}

#[test]
fn shared_cpus_are_limited_when_their_budget_is_spent() {
    let world = World::new();
    world.started(1, spec());
    world.driver.use_cpu(id(1), 60_000_000);
    wait_until("the limit is set", || {
        world.driver.cpu_limit(id(1)) == Some(62)
    });
    world.clock.advance(Duration::from_secs(120));
    wait_until("the limit is lifted", || {
        world.driver.cpu_limit(id(1)).is_none()
    });
}

#[test]
fn the_catalog_and_the_latest_report_follow() {
    let world = World::new();
    world.started(1, spec());
    let mut catalog = world.call(async |host| host.catalog());
    let latest = world.call(async |host| host.latest());
    wait_until("the catalog has it", || {
        let entries = catalog.borrow_and_update().clone();
        entries.len() == 1 && entries[0].state == MachineState::Started
    });
    assert_eq!(*latest.borrow(), world.report(1).seq);
    world
        .call(async |host| host.cordon(id(1), true, Actor::User).await)
        .unwrap();
    wait_until("the catalog is cordoned", || {
        catalog.borrow_and_update()[0].cordoned
    });
}

#[test]
fn nobody_sees_a_host_without_its_machines_after_a_crash() {
    let mut world = World::new();
    world.started(1, spec());
    assert_eq!(world.catalog_at_start.len(), 0);
    world.restart();
    assert_eq!(world.catalog_at_start.len(), 1);
}

#[test]
fn runs_of_a_schedule_are_recorded() {
    let world = World::new();
    let mut spec = spec();
    spec.schedule = Some("hourly".into());
    spec.restart.mode = RestartMode::No;
    world.started(1, spec);
    world.clock.advance(Duration::from_secs(3600));
    world.poke(1);
    let outcomes = || {
        let runs = world.call(async |host| host.schedule_runs(id(1), 10).await);
        let runs = runs.unwrap();
        let outcomes: Vec<String> = runs.into_iter().map(|run| run.outcome).collect();
        outcomes
    };
    wait_until("the second run is skipped", || {
        outcomes() == ["skipped", "started"]
    });
    world.driver.end(id(1), Ending::Code(0));
    world.wait(1, MachineState::Stopped);
    assert_eq!(outcomes(), ["skipped", "exited"]);
}
