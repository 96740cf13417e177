use std::time::Duration;

use mayfly_control_store::{AppFilter, AppStatus, BUILDER, Budget, NewApp, StoreError, Used};
use mayfly_machine::{EventKind, MachineState};
use mayfly_types::{ErrorKind, OrgId};

use crate::fixture::{Cloud, at, by, on_both_engines};

on_both_engines!(
    names_are_unique_and_free_after_a_delete,
    lists_are_filtered_and_count_machines,
    networks_are_made_when_first_named,
    two_creators_of_one_name_get_one_app,
    an_app_has_a_time_to_live_or_none,
    an_organization_has_no_more_than_its_budget,
);

async fn names_are_unique_and_free_after_a_delete(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    assert_eq!(app.status, AppStatus::Pending);
    assert_eq!(app.org_slug.as_str(), "personal");
    assert_eq!(app.network_name, "default");
    assert_eq!(store.app(app.name.clone()).await.unwrap(), app);
    let taken = store.create_app(cloud.new_app("web"), by(11)).await;
    let error = taken.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "app `web` has already been taken");

    let machine = cloud.machine(&app, "one").await;
    let app = store.app_by_id(app.id).await.unwrap();
    assert_eq!(app.status, AppStatus::Deployed);
    assert_eq!(app.machine_count, 1);
    let refused = store.delete_app(app.id, by(30)).await;
    assert!(matches!(
        refused,
        Err(StoreError::NotEmpty { machines: 1, .. })
    ));

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
    store.delete_app(app.id, by(31)).await.unwrap();
    for missing in [
        store.app(app.name.clone()).await.map(drop),
        store.app_by_id(app.id).await.map(drop),
        store.delete_app(app.id, by(32)).await,
        store
            .set_app_status(app.id, AppStatus::Suspended, by(32))
            .await,
    ] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let second = cloud.app("web").await;
    assert!(second.numeric_id > app.numeric_id);
    assert_eq!(second.machine_count, 0);
}

async fn lists_are_filtered_and_count_machines(cloud: Cloud) {
    let store = &cloud.store;
    let web = cloud.app("web").await;
    store
        .create_app(
            NewApp {
                role: "postgres_cluster".to_owned(),
                ..cloud.new_app("db")
            },
            by(12),
        )
        .await
        .unwrap();
    cloud.machine(&web, "one").await;
    cloud.machine(&web, "two").await;
    let names = |filter: AppFilter| async move {
        let apps = store.apps(filter).await.unwrap();
        apps.into_iter()
            .map(|app| format!("{} {}", app.name, app.machine_count))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(AppFilter::default()).await, ["db 0", "web 2"]);
    let of = |orgs: Vec<OrgId>| AppFilter {
        orgs: Some(orgs),
        role: None,
    };
    assert_eq!(names(of(vec![cloud.org])).await.len(), 2);
    assert!(names(of(vec![])).await.is_empty());
    assert!(
        names(of(vec![OrgId::from_random([0; 16])]))
            .await
            .is_empty()
    );
    let databases = AppFilter {
        orgs: Some(vec![cloud.org]),
        role: Some("postgres_cluster".to_owned()),
    };
    assert_eq!(names(databases).await, ["db 0"]);
}

async fn networks_are_made_when_first_named(cloud: Cloud) {
    let with = |name: &str| NewApp {
        network: Some("lab".to_owned()),
        ..cloud.new_app(name)
    };
    let one = cloud.store.create_app(with("one"), by(1)).await.unwrap();
    let two = cloud.store.create_app(with("two"), by(1)).await.unwrap();
    let other = cloud.app("three").await;
    assert_eq!(one.network_id, two.network_id);
    assert_eq!(one.network_name, "lab");
    assert_ne!(one.network_id, other.network_id);
    assert_eq!(cloud.store.networks(cloud.org).await.unwrap().len(), 2);

    let stranger = NewApp {
        org_id: OrgId::from_random([0; 16]),
        ..cloud.new_app("four")
    };
    let error = cloud.store.create_app(stranger, by(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn an_app_has_a_time_to_live_or_none(cloud: Cloud) {
    let store = &cloud.store;
    cloud.app("web").await;
    let new = NewApp {
        expires_at: Some(at(500)),
        ..cloud.new_app("preview")
    };
    let preview = store.create_app(new, by(100)).await.unwrap();
    assert_eq!(preview.expires_at, Some(at(500)));
    assert_eq!(store.expired_apps(at(499)).await.unwrap(), []);
    assert_eq!(store.expired_apps(at(500)).await.unwrap(), [preview.id]);
    let more = store.set_app_expiry(preview.id, Some(at(900)), by(400));
    assert_eq!(more.await.unwrap().expires_at, Some(at(900)));
    assert_eq!(store.expired_apps(at(800)).await.unwrap(), []);
    let stays = store.set_app_expiry(preview.id, None, by(500));
    assert_eq!(stays.await.unwrap().expires_at, None);
    assert_eq!(store.expired_apps(at(9000)).await.unwrap(), []);
    let ends = store.set_app_expiry(preview.id, Some(at(600)), by(550));
    ends.await.unwrap();
    store.delete_app(preview.id, by(700)).await.unwrap();
    assert_eq!(store.expired_apps(at(9000)).await.unwrap(), []);
}

async fn two_creators_of_one_name_get_one_app(cloud: Cloud) {
    let attempts = (0..20).map(|_| cloud.store.create_app(cloud.new_app("same"), by(1)));
    let results = futures_util::future::join_all(attempts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let creations = cloud.kinds().await;
    let creations = creations.iter().filter(|kind| *kind == "app.create");
    assert_eq!(creations.count(), 1);
}

async fn an_organization_has_no_more_than_its_budget(cloud: Cloud) {
    let store = &cloud.store;
    let first = cloud.app("first").await;
    let org = first.org_id;
    let ttl = Some(Duration::from_millis(500));
    let budget = Budget {
        apps: Some(2),
        machines: Some(1),
        ttl,
    };
    store.set_budget(org, budget, by(10)).await.unwrap();
    assert_eq!(
        store.app_by_id(first.id).await.unwrap().expires_at,
        None,
        "what was there before stays for good"
    );
    let second = store.create_app(cloud.new_app("second"), by(11)).await;
    assert_eq!(second.unwrap().expires_at, Some(at(511)));
    let third = store.create_app(cloud.new_app("third"), by(12)).await;
    let third = third.unwrap_err();
    assert_eq!(third.kind(), ErrorKind::Exhausted);
    assert!(third.to_string().contains("budget of 2 apps"), "{third}");
    // Builders are ours.
    let builder = NewApp {
        role: BUILDER.to_owned(),
        ..cloud.new_app("builder")
    };
    let builder = store.create_app(builder, by(13)).await.unwrap();
    assert_eq!(builder.expires_at, None);
    cloud.machine(&builder, "one").await;

    cloud.machine(&first, "one").await;
    let refused = store.create_machine(cloud.new_machine(&first, "two"), by(14));
    let refused = refused.await.unwrap_err();
    assert!(
        refused.to_string().contains("budget of 1 machines"),
        "{refused}"
    );
    let used = Used {
        apps: 2,
        machines: 1,
    };
    assert_eq!(store.budget(org).await.unwrap(), (budget, used));

    store
        .set_budget(org, Budget::default(), by(15))
        .await
        .unwrap();
    cloud.machine(&first, "two").await;
    cloud.app("third").await;
}
