use mayfly_control_store::{MachineCount, NewRelease, Release, ReleaseStatus, StoreError};
use mayfly_types::{AppId, ReleaseId};
use serde_json::json;

use crate::fixture::{Cloud, at, by, on_both_engines, unique};
use crate::retention::keep;

on_both_engines!(
    a_newer_wish_supersedes_one_that_waits,
    an_ended_release_stays_as_it_is,
    machines_of_a_release_are_remembered_until_its_app_goes,
    what_is_not_contained_waits_and_inherits_what_came_before,
    the_newest_complete_one_is_found,
    earlier_secrets_become_current_again,
    releases_end_with_their_app_and_do_not_keep_it,
);

async fn release(cloud: &Cloud, app: AppId, now: i64) -> Release {
    let new = NewRelease {
        id: ReleaseId::from_random(unique()),
        app_id: app,
        config: Some(json!({ "app": "web" })),
        image: None,
        secrets_version: 0,
        options: json!({ "strategy": "rolling" }),
        description: "Release".to_owned(),
        owner: "ann@example.org".to_owned(),
    };
    let made = cloud.store.create_release(new, |_| true, by(now));
    made.await.unwrap()
}

async fn end(cloud: &Cloud, release: &Release, status: ReleaseStatus) -> Release {
    let ended = cloud
        .store
        .finish_release(release.id, status, None, by(900));
    ended.await.unwrap()
}

async fn a_newer_wish_supersedes_one_that_waits(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    let first = release(&cloud, app, 100).await;
    assert_eq!((first.number, first.status), (1, ReleaseStatus::Queued));
    let running = cloud
        .store
        .set_release_stage(first.id, "machines".to_owned(), by(110))
        .await
        .unwrap();
    assert_eq!(running.status, ReleaseStatus::Running);
    assert_eq!(running.started_at, Some(at(110)));
    release(&cloud, app, 120).await;
    release(&cloud, app, 130).await;
    let statuses: Vec<ReleaseStatus> = cloud
        .store
        .releases(app, 10)
        .await
        .unwrap()
        .iter()
        .map(|release| release.status)
        .collect();
    assert_eq!(
        statuses,
        [
            ReleaseStatus::Queued,
            ReleaseStatus::Superseded,
            ReleaseStatus::Running
        ]
    );
    let superseded = cloud.store.release(app, 2).await.unwrap();
    assert!(superseded.failure.unwrap().starts_with("v3 "));
    let open = cloud.store.open_releases().await.unwrap();
    let open: Vec<i64> = open.iter().map(|release| release.number).collect();
    assert_eq!(open, [1, 3]);
}

async fn an_ended_release_stays_as_it_is(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    let first = release(&cloud, app, 100).await;
    end(&cloud, &first, ReleaseStatus::Cancelled).await;
    let again = end(&cloud, &first, ReleaseStatus::Complete).await;
    assert_eq!(again.status, ReleaseStatus::Cancelled);
    let stage = cloud
        .store
        .set_release_stage(first.id, "machines".to_owned(), by(950));
    assert_eq!(stage.await.unwrap().stage, "");
}

async fn machines_of_a_release_are_remembered_until_its_app_goes(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    let first = release(&cloud, app, 100).await;
    let count = |group: &str, machines: i64| MachineCount {
        group: group.to_owned(),
        region: "iad".parse().unwrap(),
        machines,
    };
    let store = &cloud.store;
    for counts in [
        vec![count("web", 1)],
        vec![count("web", 2), count("job", 1)],
    ] {
        store.set_release_counts(first.id, counts).await.unwrap();
    }
    let counts = store.release_counts(first.id).await.unwrap();
    assert_eq!(counts, [count("job", 1), count("web", 2)]);
    store.delete_app(app, by(200)).await.unwrap();
    assert_eq!(store.release_counts(first.id).await.unwrap(), []);
}

async fn the_newest_complete_one_is_found(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    for status in [
        ReleaseStatus::Complete,
        ReleaseStatus::Complete,
        ReleaseStatus::Failed,
    ] {
        let next = release(&cloud, app, 100).await;
        end(&cloud, &next, status).await;
    }
    let before = async |number| {
        let found = cloud.store.complete_release(app, number).await.unwrap();
        found.map(|release| release.number)
    };
    assert_eq!(before(None).await, Some(2));
    assert_eq!(before(Some(2)).await, Some(1));
    assert_eq!(before(Some(1)).await, None);
    let missing = cloud.store.release(app, 9).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }));
}

async fn earlier_secrets_become_current_again(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    let set = |value: &str| mayfly_control_store::SecretChange::Set {
        sealed_value: value.as_bytes().to_vec(),
        digest: value.to_owned(),
    };
    for (now, changes) in [
        (100, vec![("A", set("1")), ("B", set("2"))]),
        (
            200,
            vec![
                ("A", set("3")),
                ("B", mayfly_control_store::SecretChange::Unset),
                ("C", set("4")),
            ],
        ),
    ] {
        let changes = changes
            .into_iter()
            .map(|(name, change)| (name.parse().unwrap(), change))
            .collect();
        let changed = cloud.store.change_secrets(app, changes, by(now));
        changed.await.unwrap();
    }
    let back = cloud.store.restore_secrets(app, 1, by(300)).await.unwrap();
    assert_eq!(back.version, 3);
    let values: Vec<String> = cloud
        .store
        .sealed_secrets_at(app, 3)
        .await
        .unwrap()
        .into_iter()
        .map(|secret| {
            let value = String::from_utf8(secret.sealed_value).unwrap();
            format!("{}={value}", secret.name)
        })
        .collect();
    assert_eq!(values, ["A=1", "B=2"]);
    let same = cloud.store.restore_secrets(app, 3, by(400)).await.unwrap();
    assert_eq!(same.version, 3, "nothing to go back to");
}

async fn releases_end_with_their_app_and_do_not_keep_it(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    release(&cloud, app, 100).await;
    cloud.store.delete_app(app, by(200)).await.unwrap();
    assert!(cloud.store.open_releases().await.unwrap().is_empty());
    let expired = cloud.store.expire(keep(0, 1000, 0)).await.unwrap();
    assert_eq!(expired.apps, 1);
}

async fn what_is_not_contained_waits_and_inherits_what_came_before(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    let first = release(&cloud, app, 100).await;
    end(&cloud, &first, ReleaseStatus::Complete).await;
    let make = |config, now| {
        let new = NewRelease {
            id: ReleaseId::from_random(unique()),
            app_id: app,
            config: Some(config),
            image: None,
            secrets_version: 0,
            options: json!({}),
            description: "Release".to_owned(),
            owner: "ann@example.org".to_owned(),
        };
        cloud.store.create_release(new, |_| false, by(now))
    };
    let second = make(json!({ "app": "web", "kill_timeout": 7 }), 110)
        .await
        .unwrap();
    let third = make(json!({ "app": "web" }), 120).await.unwrap();
    assert_eq!(cloud.store.open_releases().await.unwrap().len(), 2);

    end(&cloud, &second, ReleaseStatus::Complete).await;
    let inherited = cloud.store.inherit_content(third.id).await.unwrap();
    assert_eq!(inherited.config, second.config);
    // What has begun is not changed any more.
    let fourth = make(json!({ "app": "web", "kill_timeout": 9 }), 130)
        .await
        .unwrap();
    let stage = "machines".to_owned();
    cloud
        .store
        .set_release_stage(fourth.id, stage, by(140))
        .await
        .unwrap();
    let unchanged = cloud.store.inherit_content(fourth.id).await.unwrap();
    assert_eq!(unchanged.config, fourth.config);
}
