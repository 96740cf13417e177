//! Volumes: who may have which, and every operation on them failed and crashed at each of its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mayfly_driver::VolumeHealth;
use mayfly_driver::fake::{Call, Edge, Fault};
use mayfly_host_api::{
    Actor, EventKind, Filesystem, HostApi, HostError, Launch, Refusal, VolumeReport, VolumeSpec,
    VolumeState,
};
use mayfly_machine::{MachineSpec, MachineState, MountSpec};
use mayfly_testing::wait_until;
use mayfly_types::VolumeId;

use crate::world::{World, id, spec};

fn volume(number: u8) -> VolumeSpec {
    VolumeSpec {
        volume_id: VolumeId::from_random([number; 16]),
        size_gib: 1,
        filesystem: Filesystem::Ext4,
    }
}

pub(crate) fn spec_with(number: u8) -> MachineSpec {
    let mut spec = spec();
    spec.mounts = vec![MountSpec {
        volume: volume(number).volume_id,
        path: "/data".into(),
    }];
    spec
}

pub(crate) fn make(world: &World, number: u8) -> Result<VolumeReport, HostError> {
    world.call(async |host| host.create_volume(volume(number)).await)
}

fn extend(world: &World, number: u8, size_gib: u32) -> Result<bool, HostError> {
    let id = volume(number).volume_id;
    let extended = world.call(async |host| host.extend_volume(id, size_gib).await)?;
    assert_eq!(extended.volume.size_gib, size_gib);
    Ok(extended.needs_restart)
}

fn remove(world: &World, number: u8) -> Result<(), HostError> {
    world.call(async |host| host.destroy_volume(volume(number).volume_id).await)
}

fn look(world: &World, number: u8) -> Result<VolumeReport, HostError> {
    world.call(async |host| host.volume(volume(number).volume_id).await)
}

fn destroy_machine(world: &World, number: u8) {
    world
        .call(async |host| host.destroy(id(number), true, Actor::User).await)
        .unwrap();
    world.wait(number, MachineState::Destroyed);
}

#[test]
fn a_volume_is_of_one_machine_until_that_is_gone() {
    let world = World::new();
    let made = make(&world, 1).unwrap();
    assert_eq!(
        (made.state, made.attached_machine),
        (VolumeState::Ready, None)
    );
    assert_eq!(
        make(&world, 1).unwrap(),
        made,
        "asked again, answered again"
    );
    let other_size = VolumeSpec {
        size_gib: 2,
        ..volume(1)
    };
    let refused = world.call(async |host| host.create_volume(other_size).await);
    assert!(matches!(
        refused,
        Err(HostError::Refused(Refusal::VolumeExists(_)))
    ));

    world.started(1, spec_with(1));
    assert_eq!(look(&world, 1).unwrap().attached_machine, Some(id(1)));
    let launched = world.driver.last_launch(id(1)).unwrap();
    assert_eq!(launched.spec.volumes[0].guest_path, "/data");
    let in_use = HostError::Refused(Refusal::VolumeInUse {
        volume: volume(1).volume_id,
        machine: id(1),
    });
    let refused = world.try_create(2, spec_with(1), Launch::Skip).unwrap_err();
    assert_eq!(format!("{refused:?}"), format!("{in_use:?}"));
    assert_eq!(
        format!("{:?}", remove(&world, 1).unwrap_err()),
        format!("{in_use:?}")
    );
    world.started(3, spec());
    let refused = world.update(3, spec_with(1)).unwrap_err();
    assert_eq!(format!("{refused:?}"), format!("{in_use:?}"));
    let refused = world.try_create(2, spec_with(9), Launch::Skip).unwrap_err();
    assert!(
        matches!(refused, HostError::Refused(Refusal::VolumeNotHere(here)) if here == volume(9).volume_id)
    );

    // An update in place keeps it; one to a version without it lets it go.
    let mut changed = spec_with(1);
    changed.env.insert("NEW".into(), "1".into());
    world.update(1, changed).unwrap();
    wait_until("the new version runs", || world.driver.launches(id(1)) == 2);
    world.wait(1, MachineState::Started);
    assert_eq!(look(&world, 1).unwrap().attached_machine, Some(id(1)));
    world.stop(1);
    world.wait(1, MachineState::Stopped);
    assert_eq!(
        look(&world, 1).unwrap().attached_machine,
        Some(id(1)),
        "stopped"
    );
    world.update(1, spec()).unwrap();
    world.wait(1, MachineState::Started);
    assert_eq!(look(&world, 1).unwrap().attached_machine, None);
    world.update(3, spec_with(1)).unwrap();
    wait_until("the other machine has it", || {
        look(&world, 1).unwrap().attached_machine == Some(id(3))
    });
    destroy_machine(&world, 3);
    assert_eq!(look(&world, 1).unwrap().attached_machine, None);
    remove(&world, 1).unwrap();
    remove(&world, 1).unwrap();
    assert!(matches!(look(&world, 1), Err(HostError::UnknownVolume(_))));
    assert_eq!(world.driver.volumes(), []);
}

#[test]
fn sizes_only_grow_and_stay_within_the_disk() {
    let world = World::new();
    make(&world, 1).unwrap();
    assert!(!extend(&world, 1, 3).unwrap());
    let refused = extend(&world, 1, 2).unwrap_err();
    let HostError::Refused(Refusal::Shrinks { size_gib, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(size_gib, 3);
    let refused = extend(&world, 1, 1 << 30).unwrap_err();
    assert!(
        matches!(refused, HostError::Refused(Refusal::NoSpace(_))),
        "{refused:?}"
    );
    let huge = VolumeSpec {
        size_gib: 1 << 30,
        ..volume(2)
    };
    let refused = world.call(async |host| host.create_volume(huge).await);
    assert!(matches!(
        refused,
        Err(HostError::Refused(Refusal::NoSpace(_)))
    ));
    let raw = VolumeSpec {
        filesystem: Filesystem::Raw,
        ..volume(2)
    };
    let refused = world.call(async |host| host.create_volume(raw).await);
    assert!(matches!(
        refused,
        Err(HostError::Refused(Refusal::Unsupported(_)))
    ));
    let unknown = extend(&world, 7, 3);
    assert!(matches!(unknown, Err(HostError::UnknownVolume(_))));

    // The fake kernel grows nothing that is mounted.
    world.started(1, spec_with(1));
    assert!(extend(&world, 1, 4).unwrap(), "needs a restart");
    assert_eq!(look(&world, 1).unwrap().state, VolumeState::NeedsRestart);
    world.stop(1);
    world.wait(1, MachineState::Stopped);
    world.start(1);
    world.wait(1, MachineState::Started);
    assert_eq!(look(&world, 1).unwrap().state, VolumeState::Ready);
    let all = world.call(async |host| host.volumes().await).unwrap();
    assert_eq!(all, [look(&world, 1).unwrap()]);
}

#[test]
fn a_repair_is_told_and_a_damaged_volume_starts_nothing() {
    let world = World::new();
    make(&world, 1).unwrap();
    let id_of = volume(1).volume_id;
    let repaired = VolumeHealth::Repaired("fixed".into());
    world.driver.set_volume_health(id_of, repaired);
    world.started(1, spec_with(1));
    wait_until("the repair is in the machine's history", || {
        world.events().iter().any(|event| {
            matches!(&event.event, Some(EventKind::VolumeRepaired(note))
                if note.volume == id_of && note.said == "fixed")
        })
    });
    world.stop(1);
    world.wait(1, MachineState::Stopped);
    let damaged = VolumeHealth::Damaged("no superblock".into());
    world.driver.set_volume_health(id_of, damaged);
    world.start(1);
    wait_until("the start is given up", || {
        let history = world.history(1);
        history.iter().any(|line| {
            line.starts_with("failed:") && line.contains("damaged") && line.contains(id_of.as_str())
        })
    });
    assert_eq!(world.driver.launches(id(1)), 1);
}

/// A reboot and a crash leave a machine with its volume.
#[test]
fn a_volume_is_there_again_after_a_crash_and_a_boot() {
    let mut world = World::new();
    make(&world, 1).unwrap();
    world.started(1, spec_with(1));
    world.restart();
    world.wait(1, MachineState::Started);
    assert_eq!(world.driver.launches(id(1)), 1, "the same guest");
    assert_eq!(look(&world, 1).unwrap().attached_machine, Some(id(1)));
    world.reboot();
    wait_until("launched after the boot", || {
        world.driver.launches(id(1)) == 2
    });
    world.wait(1, MachineState::Started);
    assert_eq!(look(&world, 1).unwrap().attached_machine, Some(id(1)));
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Make,
    Extend,
    Remove,
}

impl Operation {
    fn prepare(self, world: &World) {
        if !matches!(self, Operation::Make) {
            make(world, 1).unwrap();
        }
    }

    async fn perform(self, host: &impl HostApi) -> Result<(), HostError> {
        let id = volume(1).volume_id;
        match self {
            Operation::Make => host.create_volume(volume(1)).await.map(drop),
            Operation::Extend => host.extend_volume(id, 2).await.map(drop),
            Operation::Remove => host.destroy_volume(id).await,
        }
    }

    fn is_done(self, world: &World) -> bool {
        let found = look(world, 1);
        let disks = world.driver.volumes().len();
        match self {
            Operation::Make => disks == 1 && found.is_ok_and(|it| it.state == VolumeState::Ready),
            Operation::Extend => {
                found.is_ok_and(|it| it.size_gib == 2 && it.space.unwrap().blocks == 2 << 18)
            }
            Operation::Remove => disks == 0 && found.is_err(),
        }
    }
}

#[test]
fn every_operation_failed_and_crashed_at_each_call() {
    for operation in [Operation::Make, Operation::Extend, Operation::Remove] {
        for edge in [Edge::Before, Edge::After] {
            for number in 0..4 {
                failed(operation, edge, number);
                crashed(operation, edge, number);
            }
        }
    }
}

/// The caller is told, nothing is half there, and the next try comes to the end.
fn failed(operation: Operation, edge: Edge, number: usize) {
    let what = format!("{operation:?} failing {edge:?} call {number}");
    let world = World::new();
    operation.prepare(&world);
    let begun = world.driver.calls().len();
    let fault = Fault::Host("trouble".into());
    world.driver.fail_number(number, edge, fault);
    let result = world.call(async |host| operation.perform(host).await);
    let reached = world.driver.calls().len() > begun + number;
    if !reached {
        assert!(result.is_ok(), "{what}");
        return;
    }
    assert!(result.is_err(), "{what}");
    if let (Operation::Make, 0) = (operation, number) {
        assert_eq!(world.driver.volumes(), [], "{what}");
        assert!(look(&world, 1).is_err(), "{what}");
    }
    let again = world.call(async |host| operation.perform(host).await);
    again.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(operation.is_done(&world), "{what}");
}

/// The journal says where to go on; nobody has to ask again.
fn crashed(operation: Operation, edge: Edge, number: usize) {
    let what = format!("{operation:?} crashing {edge:?} call {number}");
    let mut world = World::new();
    operation.prepare(&world);
    let hold = world.driver.hold_number(number, edge);
    let answered = Arc::new(AtomicBool::new(false));
    let answer = answered.clone();
    world.begin(move |host| async move {
        // Whoever asked is gone as well.
        let _ = operation.perform(&host).await;
        answer.store(true, Ordering::SeqCst);
    });
    // Nothing else may call the driver meanwhile: it would be held.
    wait_until(&what, || {
        hold.is_reached() || answered.load(Ordering::SeqCst)
    });
    if hold.is_reached() {
        world.crash();
        drop(hold);
        world.start_again();
    } else {
        drop(hold);
    }
    wait_until(&what, || operation.is_done(&world));
}

#[test]
fn a_full_disk_is_said_to_be_full() {
    let world = World::new();
    world
        .driver
        .fail_next(Call::MakeVolume, Edge::Before, Fault::DiskFull);
    let refused = make(&world, 1).unwrap_err();
    assert!(
        matches!(refused, HostError::Refused(Refusal::NoSpace(_))),
        "{refused:?}"
    );
    assert!(look(&world, 1).is_err());
    make(&world, 1).unwrap();
}
