use std::collections::BTreeMap;

use mayfly_control_store::{NewVersion, SecretChange, SecretSet};
use mayfly_types::{AppId, SecretName};

use crate::fixture::{Cloud, by, on_both_engines, version};

on_both_engines!(
    each_change_is_a_version_that_can_be_read_for_ever,
    what_changes_nothing_makes_no_version,
    machines_remember_the_version_they_were_made_with,
    secrets_end_with_their_app,
);

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn set(value: &str) -> SecretChange {
    SecretChange::Set {
        sealed_value: format!("sealed {value}").into_bytes(),
        digest: format!("digest {value}"),
    }
}

async fn change(
    cloud: &Cloud,
    app: AppId,
    now: i64,
    changes: &[(&str, SecretChange)],
) -> SecretSet {
    let changes: BTreeMap<SecretName, SecretChange> = changes
        .iter()
        .map(|(text, change)| (name(text), change.clone()))
        .collect();
    cloud
        .store
        .change_secrets(app, changes, by(now))
        .await
        .unwrap()
}

async fn values(cloud: &Cloud, app: AppId, version: i64) -> Vec<(String, String)> {
    let sealed = cloud.store.sealed_secrets_at(app, version).await.unwrap();
    sealed
        .into_iter()
        .map(|secret| {
            let value = String::from_utf8(secret.sealed_value).unwrap();
            (secret.name.to_string(), value)
        })
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), format!("sealed {value}")))
        .collect()
}

async fn each_change_is_a_version_that_can_be_read_for_ever(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    assert_eq!(cloud.store.app_secrets(app).await.unwrap().version, 0);
    let first = change(&cloud, app, 100, &[("A", set("1")), ("B", set("2"))]).await;
    assert_eq!(first.version, 1);
    let second = change(&cloud, app, 200, &[("A", set("3"))]).await;
    let third = change(
        &cloud,
        app,
        300,
        &[("B", SecretChange::Unset), ("C", set("4"))],
    )
    .await;
    assert_eq!((second.version, third.version), (2, 3));

    assert_eq!(values(&cloud, app, 0).await, pairs(&[]));
    assert_eq!(
        values(&cloud, app, 1).await,
        pairs(&[("A", "1"), ("B", "2")])
    );
    assert_eq!(
        values(&cloud, app, 2).await,
        pairs(&[("A", "3"), ("B", "2")])
    );
    assert_eq!(
        values(&cloud, app, 3).await,
        pairs(&[("A", "3"), ("C", "4")])
    );
    let (version, newest) = cloud.store.sealed_secrets(app).await.unwrap();
    assert_eq!((version, newest.len()), (3, 2));

    let a = &third.secrets[0];
    assert_eq!((a.digest.as_str(), a.since_version), ("digest 3", 2));
    assert_eq!(
        (a.created_at.as_millis(), a.updated_at.as_millis()),
        (100, 200)
    );
    let log = format!("{:?}", cloud.events().await);
    assert!(log.contains("secrets.update") && log.contains("digest 3"));
    assert!(!log.contains("sealed"), "{log}");
}

async fn what_changes_nothing_makes_no_version(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    change(&cloud, app, 100, &[("A", set("1"))]).await;
    let events = cloud.events().await.len();
    let same = change(
        &cloud,
        app,
        200,
        &[("A", set("1")), ("Z", SecretChange::Unset)],
    )
    .await;
    assert_eq!((same.version, same.secrets.len()), (1, 1));
    assert_eq!(same.secrets[0].updated_at.as_millis(), 100);
    assert_eq!(cloud.events().await.len(), events);
}

async fn machines_remember_the_version_they_were_made_with(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let made_with = async || {
        let machines = cloud.store.machines_secrets(app.id).await.unwrap();
        machines[0].secrets_version
    };
    assert_eq!(made_with().await, 0);
    change(&cloud, app.id, 100, &[("A", set("1"))]).await;
    let newer = NewVersion {
        secrets_version: 1,
        ..version(200, &[])
    };
    let refused = newer.instance_id;
    cloud
        .store
        .update_machine(machine.id, newer, None, None, by(200))
        .await
        .unwrap();
    assert_eq!(made_with().await, 1);
    cloud
        .store
        .revert_machine(machine.id, refused, by(300))
        .await
        .unwrap();
    assert_eq!(made_with().await, 0);
}

async fn secrets_end_with_their_app(cloud: Cloud) {
    let app = cloud.app("web").await.id;
    change(&cloud, app, 100, &[("A", set("1"))]).await;
    cloud.store.delete_app(app, by(200)).await.unwrap();
    assert_eq!(values(&cloud, app, 1).await, pairs(&[]));
}
