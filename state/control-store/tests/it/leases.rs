use mayfly_control_store::{NewMachine, StoreError};
use mayfly_machine::{EventKind, MachineState};
use mayfly_types::ErrorKind;

use crate::fixture::{Cloud, at, by, created, lease, on_both_engines, version};

on_both_engines!(
    one_of_many_takes_the_lease,
    a_lease_is_renewed_released_and_expires,
    a_lease_guards_updates_but_not_metadata,
    a_lease_ends_with_its_machine,
);

async fn one_of_many_takes_the_lease(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let store = &cloud.store;
    let attempts =
        (0..30).map(|n| store.take_lease(machine.id, lease(&format!("n{n}"), 1000), None, by(100)));
    let results = futures_util::future::join_all(attempts).await;
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    let refusals = results.iter().filter_map(|result| result.as_ref().err());
    for refusal in refusals {
        assert_eq!(refusal.kind(), ErrorKind::Conflict);
        assert!(
            refusal
                .to_string()
                .starts_with("lease currently held by ann@example.org, expires at"),
            "{refusal}"
        );
    }
    let stored = store.machine(machine.id).await.unwrap();
    assert_eq!(stored.lease.as_ref(), Some(&won[0].0));
}

async fn a_lease_is_renewed_released_and_expires(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let store = &cloud.store;
    let take = |nonce: &str, until: i64, held: Option<&str>, now: i64| {
        store.take_lease(
            machine.id,
            lease(nonce, until),
            held.map(str::to_owned),
            by(now),
        )
    };
    take("first", 200, None, 100).await.unwrap();
    let (renewed, _) = take("unused", 300, Some("first"), 150).await.unwrap();
    assert_eq!(renewed.nonce, "first");
    assert_eq!(renewed.expires_at, at(300));
    let wrong = take("x", 400, Some("wrong"), 150).await.unwrap_err();
    assert!(matches!(wrong, StoreError::Leased { until, .. } if until == at(300)));

    let wrong = store
        .release_lease(machine.id, "wrong".to_owned(), by(150))
        .await;
    assert!(matches!(wrong, Err(StoreError::Leased { .. })));
    store
        .release_lease(machine.id, "first".to_owned(), by(160))
        .await
        .unwrap();
    let gone = store
        .release_lease(machine.id, "first".to_owned(), by(160))
        .await;
    assert_eq!(gone.unwrap_err().to_string(), "lease not found");

    take("second", 200, None, 170).await.unwrap();
    assert!(
        store
            .machine(machine.id)
            .await
            .unwrap()
            .lease_at(at(199))
            .is_some()
    );
    assert!(
        store
            .machine(machine.id)
            .await
            .unwrap()
            .lease_at(at(200))
            .is_none()
    );
    // An expired nonce does not come back to life.
    let (third, _) = take("third", 400, Some("second"), 200).await.unwrap();
    assert_eq!(third.nonce, "third");

    let kinds = cloud.kinds().await;
    let of = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
    assert_eq!(of("machine.lease.take"), 3);
    assert_eq!(of("machine.lease.release"), 1);
    assert!(!format!("{:?}", cloud.events().await).contains("third"));
}

async fn a_lease_guards_updates_but_not_metadata(cloud: Cloud) {
    let app = cloud.app("web").await;
    let store = &cloud.store;
    let new = NewMachine {
        lease: Some(lease("mine", 200)),
        ..cloud.new_machine(&app, "one")
    };
    let machine = created(store.create_machine(new, by(20)).await.unwrap());
    assert_eq!(machine.lease.as_ref().unwrap().nonce, "mine");
    let update = |nonce: Option<&str>, now: i64| {
        store.update_machine(
            machine.id,
            version(now, &[]),
            None,
            nonce.map(str::to_owned),
            by(now),
        )
    };
    for nonce in [None, Some("wrong")] {
        assert!(matches!(
            update(nonce, 100).await,
            Err(StoreError::Leased { .. })
        ));
    }
    update(Some("mine"), 101).await.unwrap();
    store
        .set_metadata(machine.id, "k".to_owned(), Some("v".to_owned()), by(102))
        .await
        .unwrap();
    update(None, 200).await.unwrap();
}

async fn a_lease_ends_with_its_machine(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let store = &cloud.store;
    store
        .take_lease(machine.id, lease("mine", 100_000), None, by(100))
        .await
        .unwrap();
    let gone = cloud.report(
        1,
        &machine,
        MachineState::Destroyed,
        Some(EventKind::Destroy),
    );
    store
        .apply_host_events(cloud.host, vec![gone])
        .await
        .unwrap();
    let released = store
        .release_lease(machine.id, "mine".to_owned(), by(200))
        .await;
    assert!(matches!(released, Err(StoreError::NoLease)));
    let taken = store
        .take_lease(machine.id, lease("late", 300), None, by(200))
        .await;
    assert!(matches!(taken, Err(StoreError::Destroyed(_))));
}
