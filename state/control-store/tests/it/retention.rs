use mayfly_control_store::{Expired, Keep, NewMachine};
use mayfly_machine::{EventKind, MachineState};
use mayfly_types::{Digest, ErrorKind};

use crate::fixture::{Cloud, at, by, created, on_both_engines};

on_both_engines!(
    what_is_old_is_forgotten_and_nothing_else,
    histories_keep_their_newest_entries,
    a_used_key_is_forgotten_with_its_machine,
);

pub(crate) fn keep(events_since: i64, destroyed_since: i64, now: i64) -> Keep {
    Keep {
        events_since: at(events_since),
        destroyed_since: at(destroyed_since),
        now: at(now),
    }
}

async fn what_is_old_is_forgotten_and_nothing_else(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let gone = cloud.machine(&app, "gone").await;
    let stays = cloud.machine(&app, "stays").await;
    let reports = vec![cloud.report(1, &gone, MachineState::Destroyed, Some(EventKind::Destroy))];
    store.apply_host_events(cloud.host, reports).await.unwrap();
    let other = cloud.app("other").await;
    store.delete_app(other.id, by(1001)).await.unwrap();
    let newest = store.newest_event().await.unwrap();

    assert_eq!(
        store.expire(keep(0, 1001, 0)).await.unwrap(),
        Expired::default()
    );
    let expired = store.expire(keep(i64::MAX, 1002, 0)).await.unwrap();
    assert_eq!(expired.machines, 1);
    assert_eq!(expired.apps, 1);
    assert_eq!(expired.events as i64, newest.0 - 1);
    assert_eq!(
        store.expire(keep(i64::MAX, 1002, 0)).await.unwrap().total(),
        0
    );
    let missing = store.machine(gone.id).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    store.machine(stays.id).await.unwrap();
    store.app_by_id(app.id).await.unwrap();

    cloud.app("next").await;
    let left: Vec<_> = cloud.events().await.iter().map(|event| event.seq).collect();
    assert_eq!(left, [newest, mayfly_types::EventSeq(newest.0 + 1)]);
}

async fn histories_keep_their_newest_entries(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let reports = (1..=50)
        .map(|seq| cloud.report(seq, &machine, MachineState::Started, Some(EventKind::Start)))
        .collect();
    cloud
        .store
        .apply_host_events(cloud.host, reports)
        .await
        .unwrap();
    let before = cloud.store.machine_events(machine.id, 100).await.unwrap();
    assert_eq!(before.len(), 50);
    cloud.store.expire(keep(1021, 0, 0)).await.unwrap();
    let after = cloud.store.machine_events(machine.id, 100).await.unwrap();
    assert_eq!(after, before[..30]);
    cloud.store.expire(keep(i64::MAX, 0, 0)).await.unwrap();
    let after = cloud.store.machine_events(machine.id, 100).await.unwrap();
    assert_eq!(after, before[..20]);
}

async fn a_used_key_is_forgotten_with_its_machine(cloud: Cloud) {
    let app = cloud.app("web").await;
    let new = |name: &str, key: &str| NewMachine {
        idempotency: Some(mayfly_control_store::IdempotencyKey {
            caller: "ann".to_owned(),
            key: key.to_owned(),
            request: Digest::from_sha256([1; 32]),
            expires_at: at(5000),
        }),
        ..cloud.new_machine(&app, name)
    };
    let machine = created(
        cloud
            .store
            .create_machine(new("a", "k"), by(20))
            .await
            .unwrap(),
    );
    created(
        cloud
            .store
            .create_machine(new("b", "other"), by(20))
            .await
            .unwrap(),
    );
    cloud
        .store
        .abandon_machine(machine.id, "test".to_owned(), by(30))
        .await
        .unwrap();
    assert_eq!(
        cloud.store.expire(keep(0, 100, 0)).await.unwrap().machines,
        1
    );
    let again = cloud
        .store
        .create_machine(new("c", "k"), by(40))
        .await
        .unwrap();
    created(again);
    assert_eq!(cloud.store.expire(keep(0, 0, 5000)).await.unwrap().keys, 2);
}
