//! The walk through the Machines API documentation, request by request: <https://fly.io/docs/machines/api/>.

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, Method, wait_for};
use serde_json::{Value, json};

#[test]
fn an_app_and_a_machine_from_creation_to_destruction() {
    walk(Stage::set());
}

#[test]
fn the_same_with_its_store_on_postgresql() {
    walk(Stage::set_with(CloudOptions {
        on_postgres: true,
        ..CloudOptions::default()
    }));
}

fn walk(stage: Stage) {
    let cloud = &stage.cloud;

    // Apps.
    let created = cloud
        .post(
            "/v1/apps",
            json!({"app_name": "walk", "org_slug": "personal"}),
        )
        .expect(201);
    assert!(created["id"].is_string(), "{created}");
    let app = cloud.get("/v1/apps/walk").expect(200);
    assert_eq!(app["name"], "walk");
    assert_eq!(app["organization"]["slug"], "personal");
    let apps = cloud.get("/v1/apps?org_slug=personal").expect(200);
    assert_eq!(apps["total_apps"], 2, "{apps}");
    let taken = cloud.post(
        "/v1/apps",
        json!({"app_name": "walk", "org_slug": "personal"}),
    );
    assert_eq!(taken.status, 422, "{}", taken.text());

    // Create.
    let machines = "/v1/apps/walk/machines";
    let config = json!({
        "init": {"exec": ["/bin/sleep", "inf"]},
        "image": "hello:latest",
        "restart": {"policy": "always"},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "env": {"GREETING": "hi"},
        "metadata": {"role": "walker"},
    });
    let machine = cloud
        .post(
            machines,
            json!({"name": "quirky-machine", "region": "iad", "config": config}),
        )
        .expect(200);
    let id = machine["id"].as_str().unwrap().to_owned();
    let instance = machine["instance_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 14);
    assert_eq!(machine["name"], "quirky-machine");
    assert_eq!(machine["region"], "iad");
    assert_eq!(machine["host_status"], "ok");
    assert_eq!(machine["config"]["env"], json!({"GREETING": "hi"}));
    assert_eq!(
        machine["private_ip"].as_str().unwrap().split(':').count(),
        8
    );
    assert!(
        machine["image_ref"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    let one = format!("{machines}/{id}");

    // Wait.
    let waited = cloud
        .get(&format!(
            "{one}/wait?instance_id={instance}&timeout=30&state=started"
        ))
        .expect(200);
    assert_eq!(waited, json!({"ok": true}));
    let late = cloud.get(&format!("{one}/wait?timeout=1&state=stopped"));
    assert_eq!(late.status, 408, "{}", late.text());

    // Get and list.
    assert_eq!(cloud.get(&one).expect(200)["state"], "started");
    let listed = cloud.get(machines).expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    for (filter, count) in [
        ("metadata.role=walker", 1),
        ("metadata.role=runner", 0),
        ("state=started", 1),
        ("state=stopped", 0),
        ("region=iad", 1),
        ("region=fra", 0),
    ] {
        let found = cloud.get(&format!("{machines}?{filter}")).expect(200);
        assert_eq!(found.as_array().unwrap().len(), count, "{filter}");
    }

    // Exec and processes.
    let answer = cloud
        .post(
            &format!("{one}/exec"),
            json!({"cmd": "/bin/sh -c 'echo $GREETING; exit 3'"}),
        )
        .expect(200);
    assert_eq!(answer["exit_code"], 3);
    assert_eq!(answer["stdout"], "hi\n");
    let processes = cloud.get(&format!("{one}/ps")).expect(200);
    let sleeps = |process: &Value| process["command"].as_str().unwrap().contains("sleep inf");
    assert!(
        processes.as_array().unwrap().iter().any(sleeps),
        "{processes}"
    );

    // Memory.
    let memory = cloud.get(&format!("{one}/memory")).expect(200);
    assert_eq!(memory["limit_mb"], 256);
    assert!(memory["available_mb"].as_u64().unwrap() > 200, "{memory}");
    let lowered = cloud
        .call(
            Method::Put,
            &format!("{one}/memory"),
            &json!({"limit_mb": 96}),
        )
        .expect(200);
    assert_eq!(lowered["limit_mb"], 96);
    cloud
        .post(&format!("{one}/memory/reclaim"), json!({"amount_mb": 8}))
        .expect(200);

    // Update.
    let mut changed = config;
    changed["env"] = json!({"GREETING": "salut"});
    let updated = cloud
        .post(
            &one,
            json!({"config": changed, "current_version": instance}),
        )
        .expect(200);
    assert_eq!(updated["id"], json!(id));
    let second = updated["instance_id"].as_str().unwrap().to_owned();
    assert_ne!(second, instance);
    cloud
        .get(&format!(
            "{one}/wait?instance_id={second}&state=started&timeout=60"
        ))
        .expect(200);
    let greeting = cloud
        .post(
            &format!("{one}/exec"),
            json!({"command": ["/bin/sh", "-c", "echo $GREETING"]}),
        )
        .expect(200);
    assert_eq!(greeting["stdout"], "salut\n");
    let stale = cloud.post(
        &one,
        json!({"config": changed, "current_version": instance}),
    );
    assert!(matches!(stale.status, 409 | 412), "{}", stale.text());
    let versions = cloud.get(&format!("{one}/versions")).expect(200);
    assert_eq!(versions.as_array().unwrap().len(), 2, "{versions}");

    // Lease.
    assert_eq!(cloud.get(&format!("{one}/lease")).status, 404);
    let lease = cloud
        .post(
            &format!("{one}/lease"),
            json!({"ttl": 500, "description": "walking"}),
        )
        .ok();
    assert_eq!(lease["status"], "success");
    let nonce = lease["data"]["nonce"].as_str().unwrap().to_owned();
    assert_eq!(cloud.post(&format!("{one}/stop"), json!({})).status, 409);
    assert_eq!(
        cloud
            .post(&format!("{one}/lease"), json!({"ttl": 5}))
            .status,
        409
    );
    let with_nonce = |method, path: &str, body: &Value| {
        cloud
            .try_call_with(method, path, &[("fly-machine-lease-nonce", &nonce)], body)
            .unwrap()
    };
    let again = with_nonce(Method::Post, &format!("{one}/lease"), &json!({"ttl": 500})).ok();
    assert_eq!(again["data"]["nonce"], json!(nonce));

    // Stop, with the lease.
    with_nonce(
        Method::Post,
        &format!("{one}/stop"),
        &json!({"signal": "SIGTERM", "timeout": "2s"}),
    )
    .ok();
    cloud
        .get(&format!("{one}/wait?state=stopped&timeout=60"))
        .expect(200);
    with_nonce(Method::Delete, &format!("{one}/lease"), &Value::Null).ok();
    assert_eq!(cloud.get(&format!("{one}/lease")).status, 404);

    // Start.
    let started = cloud.post(&format!("{one}/start"), json!({})).ok();
    assert_eq!(started["previous_state"], "stopped");
    cloud
        .get(&format!("{one}/wait?state=started&timeout=60"))
        .expect(200);

    // Suspend and resume.
    cloud.post(&format!("{one}/suspend"), json!({})).ok();
    cloud
        .get(&format!("{one}/wait?state=suspended&timeout=60"))
        .expect(200);
    let resumed = cloud.post(&format!("{one}/start"), json!({})).ok();
    assert_eq!(resumed["previous_state"], "suspended");
    cloud
        .get(&format!("{one}/wait?state=started&timeout=60"))
        .expect(200);

    // Metadata, cordon.
    let key = format!("{one}/metadata/colour");
    assert_eq!(cloud.post(&key, json!({"value": "green"})).status, 204);
    assert_eq!(
        cloud.get(&format!("{one}/metadata")).expect(200)["colour"],
        "green"
    );
    assert_eq!(cloud.delete(&key).status, 204);
    cloud.post(&format!("{one}/cordon"), json!({})).ok();
    assert_eq!(cloud.get(&one).expect(200)["cordoned"], true);
    cloud.post(&format!("{one}/uncordon"), json!({})).ok();

    // Restart and signal.
    cloud
        .post(&format!("{one}/restart?timeout=1s"), json!({}))
        .ok();
    cloud
        .get(&format!("{one}/wait?state=started&timeout=60"))
        .expect(200);
    // One that ends nothing: a machine between two starts may be destroyed without force.
    cloud
        .post(&format!("{one}/signal"), json!({"signal": "SIGCONT"}))
        .ok();
    let events = cloud.get(&format!("{one}/events")).expect(200);
    let kinds: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    for kind in ["launch", "start", "update", "exit", "suspend"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }

    // Destroy.
    assert!(
        cloud.delete(&one).status >= 400,
        "a running machine needs force"
    );
    cloud.delete(&format!("{one}?force=true")).ok();
    cloud
        .get(&format!("{one}/wait?state=destroyed&timeout=60"))
        .expect(200);
    assert_eq!(cloud.get(&one).expect(200)["state"], "destroyed");
    assert_eq!(cloud.get(machines).expect(200), json!([]));
    let with_deleted = cloud
        .get(&format!("{machines}?include_deleted=true"))
        .expect(200);
    assert_eq!(with_deleted.as_array().unwrap().len(), 1);
    assert_eq!(cloud.delete("/v1/apps/walk").status, 202);
    assert_eq!(cloud.get("/v1/apps/walk").status, 404);
}

#[test]
fn a_machine_is_created_once_per_idempotency_key() {
    let stage = Stage::set();
    let body = json!({"config": Stage::sleeper(), "skip_launch": true});
    let create = |key: &str| {
        stage
            .cloud
            .try_call_with(
                Method::Post,
                &stage.path(""),
                &[("idempotency-key", key)],
                &body,
            )
            .unwrap()
            .expect(200)["id"]
            .clone()
    };
    let first = create("one");
    assert_eq!(create("one"), first);
    assert_ne!(create("two"), first);
}

#[test]
fn skip_launch_leaves_a_machine_stopped_and_a_lease_ttl_gives_a_nonce() {
    let stage = Stage::set();
    let machine = stage
        .cloud
        .post(
            &stage.path(""),
            json!({"config": Stage::sleeper(), "skip_launch": true, "lease_ttl": 30}),
        )
        .expect(200);
    assert!(machine["nonce"].is_string(), "{machine}");
    let id = machine["id"].as_str().unwrap();
    stage.wait(id, "stopped");
    assert_eq!(stage.try_act(id, "start", json!({})).status, 409);
}

#[test]
fn a_visitor_reaches_an_app_by_name() {
    let stage = Stage::set();
    assert_eq!(stage.cloud.visit("nobody", "/").unwrap().status, 404);
    let id = stage.start(json!({
        "image": "hello:latest",
        "services": [{"protocol": "tcp", "internal_port": 8080,
            "ports": [{"port": 80, "handlers": ["http"]}]}],
    }));
    let answer = wait_for("the app answers", || {
        let answer = stage.cloud.visit(&stage.app, "/").ok()?;
        (answer.status == 200).then_some(answer)
    });
    let said = answer.json();
    assert_eq!(said["message"], "Hello from Mayfly!");
    assert_eq!(said["app"], json!(stage.app));
    assert_eq!(said["machine"], json!(id));
    assert!(answer.header("fly-request-id").is_some());
    stage.act(&id, "cordon", json!({}));
    wait_for("the app has no machine", || {
        (stage.cloud.visit(&stage.app, "/").ok()?.status == 503).then_some(())
    });
}

#[test]
fn events_of_the_log_are_read_with_a_cursor() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    let mut after = 0;
    let mut sequence = Vec::new();
    loop {
        let page = stage
            .cloud
            .get(&format!("/v1/events?after={after}&limit=3"))
            .expect(200);
        let events = page["events"].as_array().unwrap().clone();
        if events.is_empty() {
            break;
        }
        sequence.extend(events.iter().map(|event| event["seq"].as_i64().unwrap()));
        after = page["next"].as_i64().unwrap();
    }
    assert!(sequence.len() >= 4, "{sequence:?}");
    assert!(
        sequence.windows(2).all(|pair| pair[0] < pair[1]),
        "{sequence:?}"
    );
    let of_machine = stage
        .cloud
        .get(&format!("/v1/events?after=0&machine={id}"))
        .expect(200);
    for event in of_machine["events"].as_array().unwrap() {
        assert_eq!(event["machine_id"], json!(id), "{event}");
    }
}
