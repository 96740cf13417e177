use mayfly_control_store::{Created, IdempotencyKey, MachineFilter, NewMachine, StoreError};
use mayfly_machine::{EventKind, MachineState};
use mayfly_types::{Digest, ErrorKind, HostId, MachineId};

use crate::fixture::{CONFIG, Cloud, at, by, created, on_both_engines, version};

on_both_engines!(
    a_machine_is_found_by_id_and_by_name,
    a_configuration_comes_back_as_it_was_written,
    lists_obey_every_filter,
    updates_make_versions_and_expect_the_current_one,
    a_refused_version_is_taken_back,
    metadata_changes_without_a_version,
    an_idempotency_key_makes_one_machine,
    an_abandoned_machine_frees_its_name,
    undelivered_machines_and_standbys_are_found,
);

async fn a_machine_is_found_by_id_and_by_name(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let other = cloud.app("other").await;
    let machine = cloud.machine(&app, "one").await;
    assert_eq!(machine.state, MachineState::Created);
    assert_eq!(machine.app_name, app.name);
    assert_eq!(machine.placement_reason, "the only host");
    for text in [machine.id.to_string(), "one".to_owned()] {
        let found = store.machine_in_app(app.id, text.clone()).await.unwrap();
        assert_eq!(found.id, machine.id);
        let elsewhere = store.machine_in_app(other.id, text).await;
        assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let odd = store.machine_in_app(app.id, "../../etc".to_owned()).await;
    assert_eq!(odd.unwrap_err().kind(), ErrorKind::NotFound);

    let taken = store
        .create_machine(cloud.new_machine(&app, "one"), by(21))
        .await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })));
    cloud.machine(&other, "one").await;
    let homeless = NewMachine {
        host_id: HostId::from_random([0; 8]),
        ..cloud.new_machine(&app, "two")
    };
    let error = store.create_machine(homeless, by(21)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(store.count_machines().await.unwrap(), 2);
}

async fn a_configuration_comes_back_as_it_was_written(cloud: Cloud) {
    let app = cloud.app("web").await;
    let new = cloud.new_machine(&app, "one");
    let wanted = new.version.clone();
    let machine = created(cloud.store.create_machine(new, by(20)).await.unwrap());
    assert_eq!(machine.config.get(), CONFIG);
    assert_eq!(machine.spec, wanted.spec);
    assert_eq!(machine.image, wanted.image);
    assert_eq!(machine.image_labels, wanted.image_labels);

    let events = cloud.events().await;
    let event = events.iter().find(|event| event.kind == "machine.create");
    let event = event.unwrap();
    assert_eq!(event.machine_id, Some(machine.id));
    assert_eq!(event.app_name, Some(app.name));
    assert_eq!(event.org_slug.as_ref().unwrap().as_str(), "personal");
    let after = event.after.as_ref().unwrap();
    assert_eq!(after["config"]["env_names"][0], "KEY");
    assert!(!format!("{events:?}").contains("hunter2"));
}

async fn lists_obey_every_filter(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let other = cloud.app("other").await;
    let mut ids = Vec::new();
    for (name, region, group) in [
        ("a", "iad", "web"),
        ("b", "fra", "web"),
        ("c", "iad", "job"),
    ] {
        let new = NewMachine {
            region: region.parse().unwrap(),
            version: version(20, &[("group", group), ("tier", "1")]),
            ..cloud.new_machine(&app, name)
        };
        ids.push(created(store.create_machine(new, by(20)).await.unwrap()));
    }
    let foreign = cloud.machine(&other, "d").await;
    let reports = vec![
        cloud.report(1, &ids[0], MachineState::Started, Some(EventKind::Start)),
        cloud.report(
            2,
            &ids[2],
            MachineState::Destroyed,
            Some(EventKind::Destroy),
        ),
    ];
    store.apply_host_events(cloud.host, reports).await.unwrap();

    let of_app = MachineFilter {
        app: Some(app.id),
        ..Default::default()
    };
    let metadata = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let cases: [(&str, MachineFilter); 11] = [
        ("abd", MachineFilter::default()),
        ("ab", of_app.clone()),
        (
            "abc",
            MachineFilter {
                include_deleted: true,
                ..of_app.clone()
            },
        ),
        (
            "b",
            MachineFilter {
                region: Some("fra".parse().unwrap()),
                ..of_app.clone()
            },
        ),
        (
            "a",
            MachineFilter {
                states: vec![MachineState::Started, MachineState::Stopped],
                ..of_app.clone()
            },
        ),
        (
            "ab",
            MachineFilter {
                metadata: metadata("group", "web"),
                ..of_app.clone()
            },
        ),
        (
            "",
            MachineFilter {
                metadata: metadata("group", "job"),
                ..of_app.clone()
            },
        ),
        (
            "",
            MachineFilter {
                metadata: [metadata("group", "web"), metadata("tier", "2")].concat(),
                ..of_app.clone()
            },
        ),
        (
            "abd",
            MachineFilter {
                org: Some(cloud.org),
                host: Some(cloud.host),
                ..Default::default()
            },
        ),
        (
            "a",
            MachineFilter {
                updated_since: Some(at(1001)),
                ..of_app.clone()
            },
        ),
        (
            "",
            MachineFilter {
                host: Some(HostId::from_random([0; 8])),
                ..Default::default()
            },
        ),
    ];
    for (names, filter) in cases {
        let found = store.machines(filter.clone()).await.unwrap();
        let mut found: Vec<&str> = found.iter().map(|machine| machine.name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found.concat(), names, "{filter:?}");
    }

    let mut paged: Vec<MachineId> = Vec::new();
    loop {
        let page = MachineFilter {
            after: paged.last().copied(),
            limit: Some(1),
            ..Default::default()
        };
        match store.machines(page).await.unwrap().as_slice() {
            [one] => paged.push(one.id),
            rest => {
                assert!(rest.is_empty());
                break;
            }
        }
    }
    let mut all = vec![ids[0].id, ids[1].id, foreign.id];
    all.sort_unstable();
    assert_eq!(paged, all);
}

async fn updates_make_versions_and_expect_the_current_one(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let new = version(30, &[("a", "1")]);
    let updated = store
        .update_machine(
            machine.id,
            new.clone(),
            Some(machine.instance_id),
            None,
            by(30),
        )
        .await
        .unwrap();
    assert_eq!(updated.instance_id, new.instance_id);
    assert_eq!(updated.updated_at, at(30));
    assert!(updated.generation > machine.generation);

    let late = store
        .update_machine(
            machine.id,
            version(31, &[]),
            Some(machine.instance_id),
            None,
            by(31),
        )
        .await;
    let error = late.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        matches!(error, StoreError::VersionMoved { current, .. } if current == new.instance_id)
    );

    let versions = store.machine_versions(machine.id).await.unwrap();
    let ids: Vec<_> = versions.iter().map(|version| version.instance_id).collect();
    assert_eq!(ids, [new.instance_id, machine.instance_id]);
    let first = store.machine_version(machine.id, machine.instance_id).await;
    assert_eq!(first.unwrap().config.get(), CONFIG);
    let missing = store
        .machine_version(machine.id, version(99, &[]).instance_id)
        .await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);

    let racers = (0..10).map(|n| {
        store.update_machine(
            machine.id,
            version(40 + n, &[]),
            Some(new.instance_id),
            None,
            by(40 + n),
        )
    });
    let results = futures_util::future::join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

async fn a_refused_version_is_taken_back(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let refused = version(30, &[("a", "1")]);
    let by_user = |millis| by(millis);
    store
        .update_machine(machine.id, refused.clone(), None, None, by_user(30))
        .await
        .unwrap();
    let back = store
        .revert_machine(machine.id, refused.instance_id, by_user(31))
        .await
        .unwrap();
    assert_eq!(back.instance_id, machine.instance_id);
    assert!(back.spec.metadata.is_empty());
    assert_eq!(store.machine_versions(machine.id).await.unwrap().len(), 1);

    let again = store
        .revert_machine(machine.id, refused.instance_id, by_user(32))
        .await
        .unwrap();
    assert_eq!(again.instance_id, machine.instance_id);
    let kinds = cloud.kinds().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "machine.revert")
            .count(),
        1
    );
}

async fn metadata_changes_without_a_version(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let set = |value: Option<&str>| {
        store.set_metadata(machine.id, "k".to_owned(), value.map(str::to_owned), by(40))
    };
    let with = set(Some("v")).await.unwrap();
    assert_eq!(with.instance_id, machine.instance_id);
    assert_eq!(with.spec.metadata["k"], "v");
    let text = with.config.get();
    assert!(
        text.contains(r#""metadata":{"k":"v"}"#) && text.contains("1.50"),
        "{text}"
    );
    let filter = MachineFilter {
        metadata: vec![("k".to_owned(), "v".to_owned())],
        ..Default::default()
    };
    assert_eq!(store.machines(filter.clone()).await.unwrap().len(), 1);
    set(Some("v")).await.unwrap();
    set(None).await.unwrap();
    set(None).await.unwrap();
    assert!(store.machines(filter).await.unwrap().is_empty());
    let kinds = cloud.kinds().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "machine.metadata")
            .count(),
        2
    );
    assert_eq!(store.machine_versions(machine.id).await.unwrap().len(), 1);
}

async fn an_idempotency_key_makes_one_machine(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let new = |name: &str, request: u8| NewMachine {
        idempotency: Some(IdempotencyKey {
            caller: "ann".to_owned(),
            key: "k1".to_owned(),
            request: Digest::from_sha256([request; 32]),
            expires_at: at(1000),
        }),
        ..cloud.new_machine(&app, name)
    };
    let attempts = ["a", "b", "c", "d"].map(|name| store.create_machine(new(name, 1), by(20)));
    let mut made = Vec::new();
    let mut again = Vec::new();
    for answer in futures_util::future::join_all(attempts).await {
        match answer.unwrap() {
            Created::New(machine) => made.push(machine.id),
            Created::Again(machine) => again.push(machine.id),
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(again, [made[0]; 3]);

    let reused = store.create_machine(new("e", 2), by(21)).await.unwrap_err();
    assert!(matches!(reused, StoreError::KeyReused(_)));
    assert_eq!(reused.kind(), ErrorKind::Invalid);
    let later = store.create_machine(new("f", 2), by(1000)).await.unwrap();
    assert_ne!(created(later).id, made[0]);
}

async fn an_abandoned_machine_frees_its_name(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    for _ in 0..2 {
        store
            .abandon_machine(machine.id, "the host has no room".to_owned(), by(50))
            .await
            .unwrap();
    }
    let gone = store.machine(machine.id).await.unwrap();
    assert_eq!(gone.state, MachineState::Destroyed);
    assert_eq!(gone.destroyed_at, Some(at(50)));
    cloud.machine(&app, "one").await;
    let dead = store
        .update_machine(machine.id, version(60, &[]), None, None, by(60))
        .await;
    assert!(matches!(dead, Err(StoreError::Destroyed(_))));
    let kinds = cloud.kinds().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "machine.abandon")
            .count(),
        1
    );
}

async fn undelivered_machines_and_standbys_are_found(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let primary = cloud.machine(&app, "one").await;
    let mut new = cloud.new_machine(&app, "two");
    new.version.spec.standbys = vec![primary.id];
    let standby = created(store.create_machine(new, by(20)).await.unwrap());
    let ids = |machines: Vec<mayfly_control_store::Machine>| {
        machines
            .iter()
            .map(|machine| machine.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(store.standbys().await.unwrap()), [standby.id]);
    assert_eq!(store.undelivered_machines().await.unwrap().len(), 2);
    let report = cloud.report(1, &primary, MachineState::Started, Some(EventKind::Start));
    store
        .apply_host_events(cloud.host, vec![report])
        .await
        .unwrap();
    assert_eq!(
        ids(store.undelivered_machines().await.unwrap()),
        [standby.id]
    );
    store
        .update_machine(primary.id, version(30, &[]), None, None, by(30))
        .await
        .unwrap();
    assert_eq!(store.undelivered_machines().await.unwrap().len(), 2);
}
