use mayfly_control_store::{
    Accepting, Membership, NewInvitation, NewOrg, NewPerson, NewToken, OrgKind, Role, StoreError,
    TokenKind, TokenOf,
};
use mayfly_edge_api::ReplaySource;
use mayfly_types::{Digest, ErrorKind, OrgId, UserId};

use crate::fixture::{Cloud, at, by, on_both_engines};

on_both_engines!(
    a_cloud_begins_once,
    organizations_have_members_and_keep_an_admin,
    an_invitation_makes_a_member_once,
    a_deleted_organization_leaves_nothing_open,
    macaroons_are_known_by_their_id,
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
    let of_bob = store.orgs_of(bob).await.unwrap();
    assert_eq!(
        of_bob,
        [Membership {
            org: org.clone(),
            role: Role::Member
        }]
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

async fn staging(cloud: &Cloud) -> mayfly_control_store::Org {
    let new = NewOrg {
        id: OrgId::from_random([4; 16]),
        slug: "staging".parse().unwrap(),
        name: "Staging".to_owned(),
        kind: OrgKind::Shared,
    };
    cloud
        .store
        .create_org(new, cloud.user, by(4))
        .await
        .unwrap()
}

fn invitation(cloud: &Cloud, org: OrgId, code: u8) -> NewInvitation {
    NewInvitation {
        org_id: org,
        email: "bob@example.org".to_owned(),
        digest: Digest::from_sha256([code; 32]),
        role: Role::Member,
        invited_by: cloud.user,
        expires_at: at(100),
    }
}

async fn an_invitation_makes_a_member_once(cloud: Cloud) {
    let store = &cloud.store;
    let org = staging(&cloud).await;
    let refused = store.invite(invitation(&cloud, cloud.org, 1), by(5)).await;
    assert!(matches!(refused, Err(StoreError::Personal(_))));

    store
        .invite(invitation(&cloud, org.id, 1), by(5))
        .await
        .unwrap();
    // Invited again, the first code is worth nothing.
    store
        .invite(invitation(&cloud, org.id, 2), by(6))
        .await
        .unwrap();
    assert_eq!(store.invitations(org.id).await.unwrap().len(), 1);
    let bob = UserId::from_random([9; 16]);
    let person = NewPerson {
        id: bob,
        name: "Bob".to_owned(),
        personal: NewOrg {
            id: OrgId::from_random([5; 16]),
            slug: "bob".parse().unwrap(),
            name: "Bob".to_owned(),
            kind: OrgKind::Personal,
        },
        token: NewToken {
            user_id: bob,
            ..cloud.token(7)
        },
    };
    let new = || Accepting::New(Box::new(person.clone()));
    let accept = |code: u8, accepting, second| {
        store.accept_invitation(Digest::from_sha256([code; 32]), accepting, by(second))
    };
    for (code, second) in [(1, 7), (3, 7), (2, 100)] {
        let refused = accept(code, new(), second).await;
        assert!(
            matches!(refused, Err(StoreError::NotFound { .. })),
            "{code}"
        );
    }
    let accepted = accept(2, new(), 8).await.unwrap();
    assert_eq!((accepted.org.id, accepted.role), (org.id, Role::Member));
    let mut of_bob: Vec<_> = store.orgs_of(bob).await.unwrap();
    of_bob.sort_by_key(|membership| membership.org.slug.to_string());
    let slugs: Vec<_> = of_bob
        .iter()
        .map(|one| (one.org.slug.as_str(), one.role))
        .collect();
    assert_eq!(slugs, [("bob", Role::Admin), ("staging", Role::Member)]);
    assert!(
        store
            .caller(person.token.digest, at(9))
            .await
            .unwrap()
            .is_some()
    );
    assert!(matches!(
        accept(2, new(), 9).await,
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(store.invitations(org.id).await.unwrap(), []);

    // Who has the address already accepts as themselves, and an admin stays one.
    store
        .invite(invitation(&cloud, org.id, 4), by(10))
        .await
        .unwrap();
    assert!(matches!(
        accept(4, new(), 11).await,
        Err(StoreError::Taken { .. })
    ));
    accept(4, Accepting::User(cloud.user), 11).await.unwrap();
    assert_eq!(
        store.role(org.id, cloud.user).await.unwrap(),
        Some(Role::Admin)
    );

    store
        .invite(invitation(&cloud, org.id, 5), by(12))
        .await
        .unwrap();
    let email = "bob@example.org".to_owned();
    assert!(
        store
            .remove_invitation(org.id, email.clone(), by(13))
            .await
            .unwrap()
    );
    assert!(
        !store
            .remove_invitation(org.id, email, by(14))
            .await
            .unwrap()
    );
}

async fn a_deleted_organization_leaves_nothing_open(cloud: Cloud) {
    let store = &cloud.store;
    let org = staging(&cloud).await;
    let token = NewToken {
        org_id: Some(org.id),
        kind: TokenKind::Macaroon { app: None },
        ..cloud.token(8)
    };
    store.create_token(token.clone(), by(5)).await.unwrap();
    store
        .invite(invitation(&cloud, org.id, 1), by(5))
        .await
        .unwrap();
    let mut app = cloud.new_app("kept");
    app.org_id = org.id;
    let app = store.create_app(app, by(6)).await.unwrap();
    let refused = store.delete_org(org.id, by(7)).await;
    assert!(matches!(
        refused,
        Err(StoreError::OrgNotEmpty { apps: 1, .. })
    ));
    assert!(
        store
            .macaroon_caller(token.id, at(7))
            .await
            .unwrap()
            .is_some()
    );
    let refused = store.delete_org(cloud.org, by(7)).await;
    assert!(matches!(refused, Err(StoreError::Personal(_))));

    store.delete_app(app.id, by(8)).await.unwrap();
    store.delete_org(org.id, by(9)).await.unwrap();
    assert_eq!(store.orgs().await.unwrap().len(), 1);
    assert_eq!(store.orgs_of(cloud.user).await.unwrap().len(), 1);
    assert_eq!(store.macaroon_caller(token.id, at(9)).await.unwrap(), None);
    // The name is free.
    let again = NewOrg {
        id: OrgId::from_random([6; 16]),
        slug: "staging".parse().unwrap(),
        name: "Again".to_owned(),
        kind: OrgKind::Shared,
    };
    store.create_org(again, cloud.user, by(10)).await.unwrap();
}

async fn macaroons_are_known_by_their_id(cloud: Cloud) {
    let store = &cloud.store;
    let org = staging(&cloud).await;
    let mut app = cloud.new_app("web");
    app.org_id = org.id;
    let app = store.create_app(app, by(5)).await.unwrap();
    let of_org = NewToken {
        org_id: Some(org.id),
        kind: TokenKind::Macaroon { app: None },
        ..cloud.token(8)
    };
    let of_app = NewToken {
        org_id: Some(org.id),
        kind: TokenKind::Macaroon { app: Some(app.id) },
        ..cloud.token(9)
    };
    for token in [&of_org, &of_app] {
        store.create_token(token.clone(), by(6)).await.unwrap();
        assert!(
            store
                .macaroon_caller(token.id, at(7))
                .await
                .unwrap()
                .is_some()
        );
        // The digest of its text opens nothing.
        assert_eq!(store.caller(token.digest, at(7)).await.unwrap(), None);
    }
    assert_eq!(
        store
            .macaroon_caller(cloud.token(1).id, at(7))
            .await
            .unwrap(),
        None
    );
    let listed = async |of| -> Vec<_> {
        let tokens = store.tokens_of(of).await.unwrap();
        tokens.into_iter().map(|token| token.id).collect()
    };
    assert_eq!(listed(TokenOf::Org(org.id)).await, [of_org.id]);
    assert_eq!(listed(TokenOf::App(app.id)).await, [of_app.id]);

    let bob = UserId::from_random([9; 16]);
    let (email, name) = ("bob@example.org".to_owned(), "Bob".to_owned());
    store.create_user(bob, email, name, by(8)).await.unwrap();
    store
        .put_member(org.id, bob, Role::Member, by(8))
        .await
        .unwrap();
    let of_bob = NewToken {
        user_id: bob,
        org_id: Some(org.id),
        kind: TokenKind::Macaroon { app: None },
        ..cloud.token(10)
    };
    store.create_token(of_bob.clone(), by(9)).await.unwrap();
    store.remove_member(org.id, bob, by(10)).await.unwrap();
    assert_eq!(
        store.macaroon_caller(of_bob.id, at(11)).await.unwrap(),
        None
    );
    assert!(
        store
            .macaroon_caller(of_org.id, at(11))
            .await
            .unwrap()
            .is_some()
    );

    store.delete_app(app.id, by(12)).await.unwrap();
    assert_eq!(
        store.macaroon_caller(of_app.id, at(13)).await.unwrap(),
        None
    );
    assert_eq!(listed(TokenOf::App(app.id)).await, []);
}
