use std::collections::BTreeMap;

use mayfly_control_store::{Delegation, NewWireguardPeer, StoreError, WireguardPeer};
use mayfly_types::{Digest, PeerKey, Timestamp};

use crate::fixture::{Cloud, by, on_both_engines};

on_both_engines!(
    devices_are_entered_listed_and_taken_away,
    names_and_keys_are_given_once,
    unused_devices_of_clients_expire,
    a_token_enters_devices_and_changes_its_own,
);

fn new(cloud: &Cloud, name: &str, key: u8) -> NewWireguardPeer {
    NewWireguardPeer {
        public_key: PeerKey::from_bytes([key; 32]),
        org_id: cloud.org,
        network: "default".to_owned(),
        name: name.to_owned(),
        region: "iad".parse().unwrap(),
        host_id: cloud.host,
        number: 7,
        delegation: None,
    }
}

async fn enter(cloud: &Cloud, name: &str, key: u8, at: i64) -> WireguardPeer {
    let new = new(cloud, name, key);
    cloud
        .store
        .create_wireguard_peer(new, by(at))
        .await
        .unwrap()
}

async fn devices_are_entered_listed_and_taken_away(cloud: Cloud) {
    let phone = enter(&cloud, "phone", 1, 10).await;
    let laptop = enter(&cloud, "laptop", 2, 11).await;
    assert_ne!(phone.ip, laptop.ip, "the same number was asked for");
    let listed = cloud.store.wireguard_peers(cloud.org).await.unwrap();
    assert_eq!(listed, [laptop.clone(), phone.clone()]);
    let published = cloud.store.directory_peers().await.unwrap();
    let keys: Vec<PeerKey> = published.iter().map(|peer| peer.public_key).collect();
    assert_eq!(keys, [phone.public_key, laptop.public_key]);

    let removed = cloud
        .store
        .remove_wireguard_peer(cloud.org, "phone", by(12));
    assert_eq!(removed.await.unwrap(), phone);
    let again = cloud
        .store
        .remove_wireguard_peer(cloud.org, "phone", by(13));
    assert!(matches!(
        again.await,
        Err(StoreError::NotFound { what: "peer", .. })
    ));
    assert_eq!(cloud.store.directory_peers().await.unwrap().len(), 1);
    let kinds: Vec<String> = cloud
        .events()
        .await
        .into_iter()
        .map(|event| event.kind)
        .filter(|kind| kind.starts_with("wireguard_peer."))
        .collect();
    assert_eq!(
        kinds,
        [
            "wireguard_peer.create",
            "wireguard_peer.create",
            "wireguard_peer.remove"
        ]
    );
}

async fn names_and_keys_are_given_once(cloud: Cloud) {
    enter(&cloud, "phone", 1, 10).await;
    for (name, key, what) in [("phone", 2, "peer"), ("tablet", 1, "public key")] {
        let refused = cloud
            .store
            .create_wireguard_peer(new(&cloud, name, key), by(11));
        let error = refused.await.unwrap_err();
        assert!(
            matches!(error, StoreError::Taken { what: taken, .. } if taken == what),
            "{error:?}"
        );
    }
    let mut elsewhere = new(&cloud, "tablet", 3);
    elsewhere.network = "nowhere".to_owned();
    let refused = cloud.store.create_wireguard_peer(elsewhere, by(12)).await;
    assert!(matches!(
        refused,
        Err(StoreError::NotFound {
            what: "network",
            ..
        })
    ));
}

async fn unused_devices_of_clients_expire(cloud: Cloud) {
    let used = enter(&cloud, "interactive-used", 1, 10).await;
    enter(&cloud, "interactive-unused", 2, 10).await;
    enter(&cloud, "interactive-new", 3, 500).await;
    enter(&cloud, "static-unused", 4, 10).await;
    let at = |millis| Timestamp::from_millis(millis);
    for millis in [600, 400] {
        let seen = BTreeMap::from([(used.public_key, at(millis))]);
        cloud.store.note_wireguard_peers(seen).await.unwrap();
    }
    let gone = cloud.store.expire_wireguard_peers(at(500), by(1000));
    let names: Vec<String> = gone
        .await
        .unwrap()
        .into_iter()
        .map(|peer| peer.name)
        .collect();
    assert_eq!(names, ["interactive-unused"]);
    let kept = cloud
        .store
        .wireguard_peer(cloud.org, "interactive-used")
        .await;
    assert_eq!(kept.unwrap().seen_at, Some(at(600)), "never back in time");
}

async fn a_token_enters_devices_and_changes_its_own(cloud: Cloud) {
    let (store, org) = (&cloud.store, cloud.org);
    let digest = Digest::from_sha256([7; 32]);
    let create = |name, digest| store.create_wireguard_token(org, name, digest, by(1));
    create("robots", digest).await.unwrap();
    let again = create("robots", Digest::from_sha256([8; 32])).await;
    assert!(matches!(again, Err(StoreError::Taken { .. })), "{again:?}");
    let found = store.wireguard_token(digest).await.unwrap().unwrap();
    assert_eq!((found.org_id, found.name.as_str()), (org, "robots"));
    assert_eq!(store.wireguard_tokens(org).await.unwrap(), [found]);

    enter(&cloud, "laptop", 1, 10).await;
    let delegation = Some(Delegation {
        token: "robots".to_owned(),
        group: "ci".to_owned(),
    });
    let robot = NewWireguardPeer {
        delegation: delegation.clone(),
        ..new(&cloud, "robot", 2)
    };
    let robot = store.create_wireguard_peer(robot, by(11)).await.unwrap();
    assert_eq!(robot.delegation, delegation);
    let key = PeerKey::from_bytes([3; 32]);
    let rekey = |token, name, key| store.rekey_wireguard_peer(org, token, name, key, by(12));
    for (token, name) in [
        ("robots", "laptop"),
        ("others", "robot"),
        ("robots", "none"),
    ] {
        let refused = rekey(token, name, key).await;
        assert!(
            matches!(refused, Err(StoreError::NotFound { what: "peer", .. })),
            "{token}, {name}: {refused:?}"
        );
    }
    let taken = rekey("robots", "robot", PeerKey::from_bytes([1; 32])).await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })), "{taken:?}");
    assert_eq!(rekey("robots", "robot", key).await.unwrap(), robot);
    let now = store.wireguard_peer(org, "robot").await.unwrap();
    assert_eq!(
        (now.public_key, now.ip, now.delegation),
        (key, robot.ip, delegation)
    );

    store
        .remove_wireguard_peer(org, "robot", by(13))
        .await
        .unwrap();
    let same_name = enter(&cloud, "robot", 4, 14).await;
    assert_eq!(same_name.delegation, None, "another device of this name");
    let delete = || store.delete_wireguard_token(org, "robots", by(15));
    delete().await.unwrap();
    assert!(matches!(delete().await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.wireguard_token(digest).await.unwrap(), None);
}
