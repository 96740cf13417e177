use std::collections::BTreeSet;

use mayfly_edge_api::Reach;
use serde_json::{Value, json};

use crate::directory::published;
use crate::stage::Stage;

const IPS: &str = "/v1/apps/stage/ip_assignments";

async fn listed(stage: &Stage) -> Vec<Value> {
    let answer = stage.get(IPS).await.expect(200);
    answer["ips"].as_array().unwrap().clone()
}

#[tokio::test]
async fn addresses_of_every_type_come_and_go() {
    let stage = Stage::set().await;
    assert_eq!(listed(&stage).await, Vec::<Value>::new());
    for (kind, beginning, shared) in [
        ("v6", "fd6d:6179:", false),
        ("shared_v4", "127.0.0.1", true),
        ("v4", "127.80.0.", false),
        ("private_v6", "fdaa:", false),
    ] {
        let made = stage.post(IPS, json!({"type": kind})).await.expect(200);
        assert!(
            made["ip"].as_str().unwrap().starts_with(beginning),
            "{made}"
        );
        assert_eq!(
            (&made["shared"], &made["region"]),
            (&json!(shared), &json!("global"))
        );
        assert_eq!(made["type"], kind);
    }
    let again = stage
        .post(IPS, json!({"type": "shared_v4"}))
        .await
        .expect(200);
    assert_eq!(again["ip"], "127.0.0.1");
    let all = listed(&stage).await;
    assert_eq!(all.len(), 4);
    assert_eq!(all[3]["network"]["name"], "default");
    for address in &all {
        let path = format!("{IPS}/{}", address["ip"].as_str().unwrap());
        stage.delete(&path).await.expect(204);
        stage.delete(&path).await.refused(404);
    }
    assert_eq!(listed(&stage).await, Vec::<Value>::new());
    stage.delete(&format!("{IPS}/nonsense")).await.refused(404);
}

#[tokio::test]
async fn wrong_wishes_are_refused_by_name() {
    let stage = Stage::set().await;
    for (body, named) in [
        (
            json!({}),
            "type must be one of v4, v6, shared_v4, private_v6",
        ),
        (json!({"type": "v5"}), "got \"v5\""),
        (
            json!({"type": "v4", "region": "waw"}),
            "region: region \"waw\" has no hosts here",
        ),
        (
            json!({"type": "shared_v4", "region": "iad"}),
            "region: addresses of type shared_v4",
        ),
        (
            json!({"type": "v6", "network": "other"}),
            "network belongs to addresses of type private_v6",
        ),
        (
            json!({"type": "private_v6", "network": "nonesuch"}),
            "network: there is no network called \"nonesuch\"",
        ),
        (
            json!({"type": "v6", "service_name": "x".repeat(64)}),
            "service_name",
        ),
    ] {
        let refusal = stage.post(IPS, body).await.refused(422);
        assert!(refusal.contains(named), "{refusal}");
    }
    stage
        .post(IPS, json!({"type": "v4", "regoin": "iad"}))
        .await
        .refused(400);
    stage
        .post("/v1/apps/absent/ip_assignments", json!({"type": "v4"}))
        .await
        .refused(404);
    let regional = stage
        .post(IPS, json!({"type": "v4", "region": "iad"}))
        .await
        .expect(200);
    assert_eq!(regional["region"], "iad");
}

#[tokio::test]
async fn no_address_is_given_twice_and_a_released_one_is_free_at_once() {
    let stage = Stage::set().await;
    // The pool has six.
    let all =
        futures_util::future::join_all((0..8).map(|_| stage.post(IPS, json!({"type": "v4"}))))
            .await;
    let (given, refused): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|answer| answer.status == 200);
    let ips: BTreeSet<String> = given
        .iter()
        .map(|answer| answer.body["ip"].to_string())
        .collect();
    assert_eq!((ips.len(), refused.len()), (6, 2));
    for answer in refused {
        assert!(
            answer
                .refused(503)
                .contains("no address of type v4 is free")
        );
    }
    let one = given[3].body["ip"].as_str().unwrap();
    stage.delete(&format!("{IPS}/{one}")).await.expect(204);
    let again = stage.post(IPS, json!({"type": "v4"})).await.expect(200);
    assert_eq!(again["ip"], one);
    // An app that goes gives back all it had.
    stage.delete("/v1/apps/stage").await.expect(202);
    stage
        .post(
            "/v1/apps",
            json!({"app_name": "stage", "org_slug": "personal"}),
        )
        .await
        .expect(201);
    for _ in 0..6 {
        stage.post(IPS, json!({"type": "v4"})).await.expect(200);
    }
}

#[tokio::test]
async fn edges_are_told_of_addresses() {
    let stage = Stage::set().await;
    let mut feed = stage.published.clone();
    stage
        .post(IPS, json!({"type": "v4", "region": "iad"}))
        .await
        .expect(200);
    stage
        .post(IPS, json!({"type": "private_v6"}))
        .await
        .expect(200);
    let told = published(&mut feed, |directory| {
        let app = directory.apps.first();
        app.is_some_and(|app| app.addresses.len() == 2)
    })
    .await;
    let app = &told.apps[0];
    assert_eq!(app.addresses[0].reach, Reach::Dedicated);
    assert_eq!(app.addresses[0].region, Some("iad".parse().unwrap()));
    assert_eq!(app.addresses[1].reach, Reach::Private(app.network));
}
