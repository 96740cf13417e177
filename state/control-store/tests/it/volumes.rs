use mayfly_control_store::{
    NewMachine, NewVolume, StoreError, Volume, VolumeFilter, VolumeState, VolumeUpdate,
};
use mayfly_machine::{MachineState, MountSpec};
use mayfly_types::{AppId, HostId, VolumeId};

use crate::fixture::{Cloud, at, by, created, on_both_engines, version};

on_both_engines!(
    a_volume_is_one_machines,
    a_machine_that_goes_leaves_its_volume,
    an_update_that_is_taken_back_gives_the_volume_back,
    a_volume_grows_and_goes,
    what_belongs_to_an_app_goes_with_it,
);

fn new(cloud: &Cloud, app: AppId, number: u8) -> NewVolume {
    NewVolume {
        id: VolumeId::from_random([number; 16]),
        app_id: app,
        name: "data".to_owned(),
        region: "iad".parse().unwrap(),
        host_id: cloud.host,
        size_gb: 3,
        fstype: "ext4".to_owned(),
        snapshot_retention: 5,
        scheduled_snapshots: true,
    }
}

async fn made(cloud: &Cloud, app: AppId, number: u8) -> Volume {
    let new = new(cloud, app, number);
    let volume = cloud.store.create_volume(new, by(20)).await.unwrap();
    assert_eq!(volume.state, VolumeState::Creating);
    cloud.store.volume_made(volume.id, by(21)).await.unwrap()
}

fn with(mut machine: NewMachine, volume: &Volume) -> NewMachine {
    machine.version.spec.mounts = vec![MountSpec {
        volume: volume.id,
        path: "/data".to_owned(),
    }];
    machine
}

async fn holder(cloud: &Cloud, volume: &Volume) -> Option<mayfly_types::MachineId> {
    cloud.store.volume(volume.id).await.unwrap().machine_id
}

async fn a_volume_is_one_machines(cloud: Cloud) {
    let app = cloud.app("web").await;
    let volume = made(&cloud, app.id, 1).await;
    assert!(volume.is_free());
    // Both at once: one of them has it.
    let [one, two] = ["one", "two"].map(|name| with(cloud.new_machine(&app, name), &volume));
    let (first, second) = tokio::join!(
        cloud.store.create_machine(one, by(30)),
        cloud.store.create_machine(two, by(30)),
    );
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (created(won), lost),
        both => panic!("{both:?}"),
    };
    assert_eq!(holder(&cloud, &volume).await, Some(won.id));
    assert!(matches!(lost, StoreError::VolumeInUse { machine, .. } if machine == won.id));
    let machines = cloud.store.count_machines().await.unwrap();
    assert_eq!(machines, 1, "nothing is left of the other");

    let elsewhere = HostId::from_random([7; 8]);
    cloud
        .store
        .register_host(
            elsewhere,
            "iad".parse().unwrap(),
            Default::default(),
            by(31),
        )
        .await
        .unwrap();
    let second = made(&cloud, app.id, 2).await;
    let mut away = with(cloud.new_machine(&app, "away"), &second);
    away.host_id = elsewhere;
    let away = cloud.store.create_machine(away, by(32)).await;
    assert!(
        matches!(away, Err(StoreError::VolumeElsewhere { .. })),
        "{away:?}"
    );
    let other = cloud.app("other").await;
    let foreign = with(cloud.new_machine(&other, "foreign"), &second);
    let foreign = cloud.store.create_machine(foreign, by(33)).await;
    assert!(
        matches!(foreign, Err(StoreError::NotFound { .. })),
        "{foreign:?}"
    );
}

async fn a_machine_that_goes_leaves_its_volume(cloud: Cloud) {
    let app = cloud.app("web").await;
    let volume = made(&cloud, app.id, 1).await;
    let new = with(cloud.new_machine(&app, "one"), &volume);
    let machine = created(cloud.store.create_machine(new, by(30)).await.unwrap());
    let stopped = cloud.report(1, &machine, MachineState::Stopped, None);
    let apply = |event| cloud.store.apply_host_events(cloud.host, vec![event]);
    apply(stopped).await.unwrap();
    assert_eq!(holder(&cloud, &volume).await, Some(machine.id));
    let destroyed = cloud.report(2, &machine, MachineState::Destroyed, None);
    apply(destroyed).await.unwrap();
    assert_eq!(holder(&cloud, &volume).await, None);

    let new = with(cloud.new_machine(&app, "two"), &volume);
    let machine = created(cloud.store.create_machine(new, by(40)).await.unwrap());
    let reason = "refused".to_owned();
    let abandoned = cloud.store.abandon_machine(machine.id, reason, by(41));
    abandoned.await.unwrap();
    assert!(cloud.store.volume(volume.id).await.unwrap().is_free());
    let mut kinds = cloud.kinds().await;
    kinds.retain(|kind| kind.starts_with("volume."));
    let twice = ["volume.attach", "volume.detach"];
    assert_eq!(
        kinds,
        [&["volume.create", "volume.update"], &twice[..], &twice[..]].concat()
    );
}

async fn an_update_that_is_taken_back_gives_the_volume_back(cloud: Cloud) {
    let app = cloud.app("web").await;
    let volume = made(&cloud, app.id, 1).await;
    let new = with(cloud.new_machine(&app, "one"), &volume);
    let machine = created(cloud.store.create_machine(new, by(30)).await.unwrap());
    let plain = version(31, &[]);
    let refused = plain.instance_id;
    let update = cloud
        .store
        .update_machine(machine.id, plain, None, None, by(31));
    update.await.unwrap();
    assert_eq!(holder(&cloud, &volume).await, None);
    let revert = cloud.store.revert_machine(machine.id, refused, by(32));
    revert.await.unwrap();
    assert_eq!(holder(&cloud, &volume).await, Some(machine.id));
}

async fn a_volume_grows_and_goes(cloud: Cloud) {
    let app = cloud.app("web").await;
    let store = &cloud.store;
    let id = made(&cloud, app.id, 1).await.id;
    let less = store.extend_volume(id, 2, by(30)).await;
    assert!(matches!(
        less,
        Err(StoreError::VolumeShrinks { size_gb: 3, .. })
    ));
    let wanted = store.extend_volume(id, 5, by(30)).await.unwrap();
    assert_eq!((wanted.state, wanted.size_gb), (VolumeState::Extending, 5));
    // What its host refuses it does not have; another wish by then is not touched.
    store.extend_volume(id, 9, by(31)).await.unwrap();
    let still = store.volume_not_extended(id, 5, by(32)).await.unwrap();
    assert_eq!(still.size_gb, 9);
    let back = store.volume_not_extended(id, 9, by(32)).await.unwrap();
    assert_eq!((back.state, back.size_gb), (VolumeState::Created, 3));
    store.extend_volume(id, 5, by(33)).await.unwrap();
    let grown = store.volume_extended(id, 5, by(34)).await.unwrap();
    assert_eq!((grown.state, grown.size_gb), (VolumeState::Created, 5));
    let update = VolumeUpdate {
        snapshot_retention: Some(9),
        scheduled_snapshots: None,
    };
    let updated = store.update_volume(id, update, by(35)).await.unwrap();
    assert_eq!(
        (updated.snapshot_retention, updated.scheduled_snapshots),
        (9, true)
    );

    store.destroy_volume(id, at(100), by(40)).await.unwrap();
    assert!(store.update_volume(id, update, by(41)).await.is_err());
    let back = store.restore_volume(id, by(42)).await.unwrap();
    assert!(back.is_free());
    store.destroy_volume(id, at(100), by(43)).await.unwrap();
    let late = store.restore_volume(id, by(100)).await;
    assert!(matches!(late, Err(StoreError::VolumeNotReady { .. })));
    let gone = store.volume_destroyed(id, by(101)).await.unwrap();
    assert_eq!(gone.state, VolumeState::Destroyed);
    let listed = store.volumes(VolumeFilter::default()).await.unwrap();
    assert_eq!(listed, []);
}

async fn what_belongs_to_an_app_goes_with_it(cloud: Cloud) {
    let app = cloud.app("web").await;
    let store = &cloud.store;
    let volume = made(&cloud, app.id, 1).await;
    assert_eq!(store.app_by_id(app.id).await.unwrap().volume_count, 1);
    store.delete_app(app.id, by(50)).await.unwrap();
    let going = store.volume(volume.id).await.unwrap();
    assert_eq!(
        (going.state, going.destroy_at),
        (VolumeState::PendingDestroy, Some(by(50).at))
    );
    // So does what a process that died had asked for.
    let app = cloud.app("next").await;
    let half = store.create_volume(new(&cloud, app.id, 2), by(51)).await;
    let half = half.unwrap().id;
    store.give_up_new_volumes(by(52)).await.unwrap();
    let half = store.volume(half).await.unwrap();
    assert_eq!(half.state, VolumeState::PendingDestroy);
}
