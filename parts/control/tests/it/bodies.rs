use mayfly_net::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn wrong_paths_methods_and_bodies_are_refused_in_json() {
    let stage = Stage::set().await;
    let long = vec![b' '; 9 << 20];
    for (method, path, body, status) in [
        (Method::GET, "/v1/nonesuch", None, 404),
        (Method::GET, "/", None, 404),
        (Method::PUT, "/v1/apps", None, 405),
        (Method::GET, "/v1/apps/..%2f..%2fetc/machines", None, 404),
        (Method::GET, "/v1/apps/%ff/machines", None, 404),
        (Method::GET, "/v1/apps/stage/machines/nonesuch", None, 404),
        (Method::GET, "/v1/apps?org_slugs=x", None, 400),
        (Method::POST, "/v1/apps", Some(b"".to_vec()), 201),
        (Method::POST, "/v1/apps", Some(b"null".to_vec()), 400),
        (Method::POST, "/v1/apps", Some(b"{".to_vec()), 400),
        (
            Method::POST,
            "/v1/apps",
            Some(br#"{"app_name":"Bad Name"}"#.to_vec()),
            422,
        ),
        (
            Method::POST,
            "/v1/apps",
            Some(br#"{"app_name":"good","x":1}"#.to_vec()),
            400,
        ),
        (
            Method::POST,
            "/v1/apps/stage/machines",
            Some(vec![b'['; 100_000]),
            400,
        ),
        (Method::POST, "/v1/apps/stage/machines", Some(long), 413),
    ] {
        let answer = stage.call(method.clone(), path, &[], body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.request_id.is_some_and(|id| id.len() == 26));
        if status >= 400 {
            assert!(answer.body["error"].is_string(), "{method} {path}");
        }
    }
}

/// A good body with one value of it replaced.
fn damaged() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"name": "x"}])),
    ];
    let field = prop_oneof![
        Just("image"),
        Just("guest"),
        Just("env"),
        Just("files"),
        Just("services"),
        Just("init"),
        Just("mounts"),
        Just("containers"),
        Just("restart"),
        Just("schedule"),
        Just("dns"),
        Just("metadata"),
        Just("standbys"),
    ];
    let top = prop_oneof![
        Just("config"),
        Just("name"),
        Just("region"),
        Just("lease_ttl"),
        Just("skip_launch")
    ];
    (field, value.clone(), top, value, any::<bool>()).prop_map(
        |(field, inner, top, outer, damage_top)| {
            let mut config = sleeper();
            config[field] = inner;
            let mut body = json!({ "config": config });
            if damage_top {
                body[top] = outer;
            }
            body
        },
    )
}

#[tokio::test]
async fn no_body_breaks_the_api() {
    let stage = Stage::set().await;
    let mut runner = TestRunner::new(Config::with_cases(150));
    for _ in 0..150 {
        let body = damaged().new_tree(&mut runner).unwrap().current();
        let answer = stage.post("/v1/apps/stage/machines", body.clone()).await;
        assert!(
            answer.status < 500,
            "{} for {body}: {}",
            answer.status,
            answer.body
        );
        if answer.status != 200 {
            assert!(answer.body["error"].is_string(), "{body}");
        }
        let raw: Vec<u8> = prop::collection::vec(any::<u8>(), 0..80)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        for path in [
            "/v1/apps",
            "/v1/apps/stage/machines",
            "/v1/platform/placements",
            "/v1/orgs",
        ] {
            let answer = stage.call(Method::POST, path, &[], Some(raw.clone())).await;
            assert!(answer.status < 500, "{path} {raw:?}: {}", answer.body);
        }
    }
    stage.get("/v1/apps/stage").await.expect(200);
}
