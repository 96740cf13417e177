//! Wrong requests: a clear error, nothing written, no crash.

use mayfly_conformance::Stage;
use mayfly_testing::{Method, send};
use serde_json::{Value, json};

/// A configuration, the status it is refused with, and what the error must name.
fn refused_configurations() -> Vec<(Value, u16, &'static str)> {
    let with = |key: &str, value: Value| {
        let mut config = Stage::sleeper();
        config[key] = value;
        config
    };
    vec![
        (with("colour", json!("red")), 400, "colour"),
        (
            with("guest", json!({"cpus": 3, "memory_mb": 256})),
            422,
            "cpus",
        ),
        (
            with("guest", json!({"cpus": 1, "memory_mb": 100})),
            422,
            "memory",
        ),
        (
            with("guest", json!({"cpu_kind": "quantum"})),
            422,
            "cpu_kind",
        ),
        (with("guest", json!({"cpus": "two"})), 400, "cpus"),
        (
            with("restart", json!({"policy": "sometimes"})),
            422,
            "policy",
        ),
        (with("schedule", json!("every full moon")), 422, "schedule"),
        (
            with("stop_config", json!({"signal": "SIGNOSE"})),
            422,
            "signal",
        ),
        (
            with(
                "files",
                json!([{"guest_path": "relative", "raw_value": ""}]),
            ),
            422,
            "guest_path",
        ),
        (
            with("files", json!([{"guest_path": "/a/../b", "raw_value": ""}])),
            422,
            "guest_path",
        ),
        (
            with("files", json!([{"guest_path": "/a", "raw_value": "%%%"}])),
            422,
            "raw_value",
        ),
        (with("image", json!("Not An Image")), 422, "image"),
        (with("image", json!("")), 422, "image"),
        (with("env", json!({"A=B": "c"})), 422, "env"),
        (json!({}), 422, "image"),
    ]
}

#[test]
fn wrong_configurations_are_refused_by_name() {
    let stage = Stage::set();
    for (config, status, named) in refused_configurations() {
        let answer = stage.cloud.post(&stage.path(""), json!({"config": config}));
        let text = answer.text();
        assert_eq!(answer.status, status, "{config}: {text}");
        let error = answer.json()["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            error.contains(named),
            "{config}: `{error}` does not name {named}"
        );
    }
    assert_eq!(stage.cloud.get(&stage.path("")).expect(200), json!([]));
}

#[test]
fn broken_json_never_breaks_the_api() {
    let stage = Stage::set();
    let bearer = format!("Bearer {}", stage.cloud.token());
    let whole = json!({"config": Stage::sleeper(), "name": "x", "region": "iad"}).to_string();
    let mut bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{\"config\":null}".to_vec(),
        vec![b'['; 100_000],
        format!("{{\"config\":{{\"image\":\"{}\"}}}}", "a".repeat(1 << 20)).into_bytes(),
        br#"{"config":{"image":"hello:latest","guest":{"cpus":1e400}}}"#.to_vec(),
        br#"{"config":{"image":"hello:latest","guest":{"memory_mb":-1}}}"#.to_vec(),
        br#"{"config":{"image":"hello:latest","env":{"A":"\u0000"}}}"#.to_vec(),
    ];
    // Every prefix of a good request, and every byte of it flipped, in steps.
    for cut in (1..whole.len()).step_by(7) {
        bodies.push(whole.as_bytes()[..cut].to_vec());
        let mut flipped = whole.clone().into_bytes();
        flipped[cut] ^= 0x15;
        bodies.push(flipped);
    }
    for body in bodies {
        let answer = send(
            stage.cloud.api(),
            Method::Post,
            &stage.path("?"),
            &[
                ("authorization", &bearer),
                ("content-type", "application/json"),
            ],
            &body,
        )
        .expect("the API answers");
        // A damaged image name may name a registry that does not answer.
        let elsewhere = answer.status == 503 && answer.text().contains("resolve image");
        assert!(
            answer.status < 500 || elsewhere,
            "{} for {:?}: {}",
            answer.status,
            String::from_utf8_lossy(&body[..body.len().min(200)]),
            answer.text()
        );
    }
    stage.cloud.get("/v1/apps/stage").expect(200);
}

#[test]
fn wrong_paths_and_names_are_client_errors() {
    let stage = Stage::set();
    let cloud = &stage.cloud;
    for (answer, status) in [
        (cloud.get("/v1/apps/stage/machines/nonesuch"), 404),
        (cloud.get("/v1/apps/stage/machines/0123456789abcd"), 404),
        (cloud.get("/v1/apps/..%2f..%2fetc/machines"), 404),
        (cloud.get("/v1/nonesuch"), 404),
        (
            cloud.post(
                "/v1/apps",
                json!({"app_name": "Bad Name", "org_slug": "personal"}),
            ),
            422,
        ),
        (
            cloud.post(
                "/v1/apps",
                json!({"app_name": "good", "org_slug": "nonesuch"}),
            ),
            404,
        ),
        (
            cloud.post(
                "/v1/apps",
                json!({"app_name": "good", "org_slug": "personal", "x": 1}),
            ),
            400,
        ),
        (cloud.get("/v1/events?after=soon"), 400),
    ] {
        assert_eq!(
            answer.status,
            status,
            "{}: {}",
            answer.request,
            answer.text()
        );
        assert!(answer.json()["error"].is_string(), "{}", answer.text());
    }
    let id = stage.start(Stage::sleeper());
    for (rest, status) in [
        ("wait?state=dancing&timeout=1", 400),
        ("wait?state=started&timeout=61", 400),
        ("wait?state=started&timeout=0", 400),
    ] {
        let answer = cloud.get(&stage.path(&format!("/{id}/{rest}")));
        assert_eq!(answer.status, status, "{rest}: {}", answer.text());
    }
}

#[test]
fn an_archive_that_is_none_is_refused() {
    let stage = Stage::set();
    let bearer = format!("Bearer {}", stage.cloud.token());
    for body in [&b""[..], b"not a tar", &[0; 10240], &[0xff; 5000]] {
        let answer = send(
            stage.cloud.api(),
            Method::Post,
            "/v1/images?name=bad:1",
            &[("authorization", &bearer)],
            body,
        )
        .expect("the API answers");
        let text = answer.text();
        assert!((400..500).contains(&answer.status), "{text}");
        assert!(!text.contains("uploads"), "a path of the server: {text}");
    }
    let listed = stage.cloud.get("/v1/images").expect(200).to_string();
    assert!(!listed.contains("bad:1"), "{listed}");
}
