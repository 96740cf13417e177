use mayfly_control_store::{NewOrg, NewToken, OrgKind, Role, StoreError};
use mayfly_edge_api::ReplaySource;
use mayfly_types::{ErrorKind, OrgId, UserId};

use crate::fixture::{Cloud, at, by, on_both_engines};

on_both_engines!(
    a_cloud_begins_once,
    organizations_have_members_and_keep_an_admin,
    organizations_grant_replays_and_take_them_back,
    tokens_open_until_they_expire_or_are_revoked,
);

async fn a_cloud_begins_once(cloud: Cloud) {
    let again = cloud.store.first_start(cloud.first_start(), by(5)).await;
    assert!(!again.unwrap());
    assert_eq!(
        cloud.kinds().await,
        [
            "user.create",
            "org.create",
            "org.member.put",
            "network.create",
            "token.create",
            "host.register"
        ]
    );
    let networks = cloud.store.networks(cloud.org).await.unwrap();
    assert_eq!(networks.len(), 1);
    assert_eq!(networks[0].name, "default");
    let user = cloud.store.user(cloud.user).await.unwrap();
    assert_eq!(
        cloud.store.user_by_email(user.email.clone()).await.unwrap(),
        user
    );
}

async fn organizations_have_members_and_keep_an_admin(cloud: Cloud) {
    let store = &cloud.store;
    let bob = UserId::from_random([9; 16]);
    store
        .create_user(bob, "bob@example.org".to_owned(), "Bob".to_owned(), by(3))
        .await
        .unwrap();
    let taken = store
        .create_user(
            UserId::from_random([8; 16]),
            "bob@example.org".to_owned(),
            "B".to_owned(),
            by(3),
        )
        .await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })));

    let new = |id: u8| NewOrg {
        id: OrgId::from_random([id; 16]),
        slug: "staging".parse().unwrap(),
        name: "Staging".to_owned(),
        kind: OrgKind::Shared,
    };
    let org = store.create_org(new(4), cloud.user, by(4)).await.unwrap();
    assert_eq!(org.numeric_id, 2);
    let taken = store.create_org(new(5), cloud.user, by(4)).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.orgs().await.unwrap().len(), 2);
    assert_eq!(store.org(org.id).await.unwrap(), org);
    assert_eq!(store.org_by_slug(org.slug.clone()).await.unwrap(), org);

    assert_eq!(store.role(org.id, bob).await.unwrap(), None);
    store
        .put_member(org.id, bob, Role::Member, by(5))
        .await
        .unwrap();
    assert_eq!(
        store.orgs_of(bob).await.unwrap(),
        std::slice::from_ref(&org)
    );
    let members = store.members(org.id).await.unwrap();
    assert_eq!(members.len(), 2);
    assert_eq!(members[1].user.id, bob);
    assert_eq!(members[1].role, Role::Member);

    for refused in [
        store.remove_member(org.id, cloud.user, by(6)).await,
        store
            .put_member(org.id, cloud.user, Role::Member, by(6))
            .await,
    ] {
        assert!(matches!(refused, Err(StoreError::LastAdmin)));
    }
    store
        .put_member(org.id, bob, Role::Admin, by(7))
        .await
        .unwrap();
    store
        .remove_member(org.id, cloud.user, by(8))
        .await
        .unwrap();
    store
        .remove_member(org.id, cloud.user, by(8))
        .await
        .unwrap();
    assert_eq!(store.members(org.id).await.unwrap().len(), 1);
}

async fn organizations_grant_replays_and_take_them_back(cloud: Cloud) {
    let store = &cloud.store;
    let other = NewOrg {
        id: OrgId::from_random([4; 16]),
        slug: "other".parse().unwrap(),
        name: "Other".to_owned(),
        kind: OrgKind::Shared,
    };
    let other = store.create_org(other, cloud.user, by(4)).await.unwrap();
    let app = cloud.app("web").await;
    let sources = async || {
        store.directory_apps().await.unwrap()[&app.id]
            .replay_sources
            .clone()
    };
    assert_eq!(store.app_ids_of(cloud.org).await.unwrap(), [app.id]);
    assert_eq!(sources().await, []);
    for at in 5..7 {
        let granted = store.add_replay_source(cloud.org, other.id, by(at)).await;
        granted.unwrap();
    }
    assert_eq!(sources().await, [ReplaySource::Organization(other.id)]);
    let granted = store.replay_sources(cloud.org).await.unwrap();
    assert_eq!(granted, std::slice::from_ref(&other));
    assert!(store.replay_sources(other.id).await.unwrap().is_empty());
    for at in 7..9 {
        let taken = store
            .remove_replay_source(cloud.org, other.id, by(at))
            .await;
        taken.unwrap();
    }
    assert_eq!(sources().await, []);
    let kinds = cloud.kinds().await;
    // What changed nothing is no event.
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["replay_source.add", "replay_source.remove"]
    );
}

async fn tokens_open_until_they_expire_or_are_revoked(cloud: Cloud) {
    let store = &cloud.store;
    let new = NewToken {
        expires_at: Some(at(100)),
        org_id: Some(cloud.org),
        ..cloud.token(7)
    };
    let digest = new.digest;
    let token = store.create_token(new, by(50)).await.unwrap();
    let caller = store.caller(digest, at(99)).await.unwrap().unwrap();
    assert_eq!(caller.token, token);
    assert_eq!(caller.user.id, cloud.user);
    assert_eq!(store.caller(digest, at(100)).await.unwrap(), None);

    let forever = cloud.token(1).digest;
    assert!(store.caller(forever, at(i64::MAX)).await.unwrap().is_some());
    let id = cloud.token(1).id;
    store.revoke_token(id, by(60)).await.unwrap();
    store.revoke_token(id, by(61)).await.unwrap();
    assert_eq!(store.caller(forever, at(70)).await.unwrap(), None);
    assert_eq!(store.tokens(cloud.user).await.unwrap().len(), 2);

    let events = cloud.events().await;
    let revocations = events.iter().filter(|event| event.kind == "token.revoke");
    assert_eq!(revocations.count(), 1);
    for event in events {
        assert!(!format!("{event:?}").contains(&digest.hex()));
    }
}
