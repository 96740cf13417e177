use mayfly_control_store::{HostMove, MoveStage};
use mayfly_types::MachineId;

use crate::fixture::{Cloud, by, on_both_engines};

on_both_engines!(
    a_host_is_drained_and_used_again,
    moves_are_remembered_as_long_as_they_matter,
);

async fn a_host_is_drained_and_used_again(cloud: Cloud) {
    let store = &cloud.store;
    let host = store.begin_host_drain(cloud.host, by(10)).await.unwrap();
    assert!(host.cordoned_at.is_some());
    store.begin_host_drain(cloud.host, by(11)).await.unwrap();
    let drains = store.host_drains().await.unwrap();
    assert_eq!(drains.len(), 1);
    assert_eq!(
        (drains[0].host_id, drains[0].started_at),
        (cloud.host, by(10).at)
    );
    let host = store.end_host_drain(cloud.host, by(12)).await.unwrap();
    assert_eq!(host.cordoned_at, None);
    store.end_host_drain(cloud.host, by(13)).await.unwrap();
    assert_eq!(store.host_drains().await.unwrap(), []);
    let mut kinds = cloud.kinds().await;
    kinds.retain(|kind| kind.starts_with("host.") && kind != "host.register");
    assert_eq!(
        kinds,
        ["host.cordon", "host.drain", "host.uncordon", "host.undrain"]
    );
}

async fn moves_are_remembered_as_long_as_they_matter(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let heir = MachineId::from_random([9; 14]);
    let mut machines = Vec::new();
    for name in ["one", "two", "three"] {
        machines.push(cloud.machine(&app, name).await.id);
    }
    store.begin_host_drain(cloud.host, by(10)).await.unwrap();
    for machine in &machines {
        let begin = store.begin_host_move(*machine, heir, true, by(11));
        begin.await.unwrap();
    }
    // The first choice of a replacement stays.
    let other = MachineId::from_random([8; 14]);
    let begin = store.begin_host_move(machines[0], other, false, by(12));
    begin.await.unwrap();
    let moves = async || store.host_moves().await.unwrap();
    let of = |moves: &[HostMove], machine: MachineId| {
        let found = moves.iter().find(|one| one.machine_id == machine);
        found.cloned()
    };
    let first = of(&moves().await, machines[0]).unwrap();
    assert_eq!(
        (first.replacement_id, first.launches, first.stage),
        (heir, true, MoveStage::Replacing)
    );

    let why = Some("no room".to_owned());
    let slow = store.set_host_move_problem(machines[0], why.clone());
    slow.await.unwrap();
    let second = of(&moves().await, machines[1]).unwrap();
    let failed = store.set_host_move_stage(second.clone(), MoveStage::Failed, why.clone(), by(13));
    failed.await.unwrap();
    // What has failed keeps its reason.
    let late = store.set_host_move_problem(machines[1], None);
    late.await.unwrap();
    let third = of(&moves().await, machines[2]).unwrap();
    let done = store.set_host_move_stage(third, MoveStage::Done, None, by(14));
    done.await.unwrap();
    let now = moves().await;
    assert_eq!(of(&now, machines[0]).unwrap().problem, why);
    let failed = of(&now, machines[1]).unwrap();
    assert_eq!(
        (failed.stage, failed.problem, failed.stage_since),
        (MoveStage::Failed, why, by(13).at)
    );
    let kinds = cloud.kinds().await;
    assert!(kinds.contains(&"machine.moved".to_owned()));
    assert!(kinds.contains(&"machine.move_failed".to_owned()));

    // Asked again, what failed is tried again; used again, only what is under way is remembered.
    store.begin_host_drain(cloud.host, by(15)).await.unwrap();
    assert_eq!(of(&moves().await, machines[1]), None);
    store.end_host_drain(cloud.host, by(16)).await.unwrap();
    let left: Vec<MachineId> = moves().await.iter().map(|one| one.machine_id).collect();
    assert_eq!(left, [machines[0]]);
    store.forget_host_move(machines[0]).await.unwrap();
    assert_eq!(moves().await, []);
}
