use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

const MACHINES: &str = "/v1/apps/stage/machines";

#[tokio::test]
async fn a_repeated_creation_with_its_key_makes_one_machine() {
    let stage = Stage::set().await;
    let body = json!({"config": sleeper()}).to_string().into_bytes();
    let create = async |key: &str, body: &[u8]| {
        let headers = [("idempotency-key", key)];
        stage
            .call(Method::POST, MACHINES, &headers, Some(body.to_vec()))
            .await
    };
    let first = create("one", &body).await.expect(200);
    assert_eq!(create("one", &body).await.expect(200)["id"], first["id"]);
    assert_ne!(create("two", &body).await.expect(200)["id"], first["id"]);
    let other = json!({"config": {"image": "other"}}).to_string();
    let reused = create("one", other.as_bytes()).await.refused(422);
    assert!(reused.contains("another request"), "{reused}");
    let in_body = json!({"config": sleeper(), "idempotency_key": "three"});
    let first = stage.post(MACHINES, in_body.clone()).await.expect(200);
    assert_eq!(
        stage.post(MACHINES, in_body).await.expect(200)["id"],
        first["id"]
    );
}

#[tokio::test]
async fn a_repeated_creation_of_an_app_with_its_key_makes_one() {
    let stage = Stage::set().await;
    let unnamed = json!({"org_slug": "personal", "idempotency_key": "once"});
    let first = stage.post("/v1/apps", unnamed.clone()).await.expect(201);
    let again = stage.post("/v1/apps", unnamed).await.expect(201);
    assert_eq!(again["id"], first["id"]);
    let named = json!({"app_name": "named", "org_slug": "personal"}).to_string();
    let create = async |key: &str| {
        let headers = [("idempotency-key", key)];
        let body = named.clone().into_bytes();
        stage
            .call(Method::POST, "/v1/apps", &headers, Some(body))
            .await
    };
    let first = create("a").await.expect(201);
    assert_eq!(create("a").await.expect(201)["id"], first["id"]);
    assert_eq!(create("b").await.body["status"], "name_taken");
    let reused = create("once").await.refused(422);
    assert!(reused.contains("another request"), "{reused}");
    // What was made is gone: the request makes it again.
    stage
        .call(Method::DELETE, "/v1/apps/named", &[], None)
        .await;
    assert_ne!(create("a").await.expect(201)["id"], first["id"]);
}

#[tokio::test]
async fn metadata_changes_as_a_whole_or_not_at_all() {
    let stage = Stage::set().await;
    let machine = stage
        .post(MACHINES, json!({"config": sleeper()}))
        .await
        .expect(200);
    let path = format!("{MACHINES}/{}/metadata", machine["id"].as_str().unwrap());
    let send = async |method: Method, body: Value| {
        let body = body.to_string().into_bytes();
        stage.call(method, &path, &[], Some(body)).await
    };
    let two = json!({"metadata": {"a": "1", "b": "2"}});
    assert_eq!(
        send(Method::PUT, two.clone()).await.expect(200),
        two["metadata"]
    );
    let patch =
        json!({"metadata": {"a": null, "c": "3"}, "machine_version": machine["instance_id"]});
    assert_eq!(
        send(Method::PATCH, patch).await.expect(200),
        json!({"b": "2", "c": "3"})
    );
    send(Method::PUT, json!({"metadata": {"d": "4", "": "5"}}))
        .await
        .refused(422);
    let moved = json!({"metadata": {}, "machine_version": "01JD0000000000000000000001"});
    send(Method::PUT, moved).await.refused(412);
    assert_eq!(
        stage.get(&path).await.expect(200),
        json!({"b": "2", "c": "3"})
    );
    // One change is one row of the log.
    let log = stage.get("/v1/events?limit=500").await.expect(200);
    let rows = log["events"].as_array().unwrap().iter();
    let changes = rows
        .filter(|event| event["kind"] == "machine.metadata")
        .count();
    assert_eq!(changes, 2);
}

#[tokio::test]
async fn creation_follows_its_wishes() {
    let stage = Stage::set().await;
    let skipped = json!({"config": sleeper(), "skip_launch": true, "skip_service_registration": true, "lease_ttl": 30});
    let machine = stage.post(MACHINES, skipped).await.expect(200);
    assert_eq!(machine["state"], "stopped");
    assert_eq!(machine["cordoned"], true);
    assert!(machine["nonce"].is_string());
    assert!(machine["lease"]["owner"].is_string());
    assert_eq!(machine["lease"].get("nonce"), None);
    let id = machine["id"].as_str().unwrap();

    let mut config = sleeper();
    config["standbys"] = json!([id]);
    let standby = stage
        .post(MACHINES, json!({"config": config}))
        .await
        .expect(200);
    assert_eq!(standby["state"], "stopped");

    let named = json!({"config": sleeper(), "name": "twice"});
    stage.post(MACHINES, named.clone()).await.expect(200);
    let taken = stage.post(MACHINES, named).await;
    assert_eq!(taken.body["status"], "name_taken");
    taken.refused(422);
    for (body, status, text) in [
        (
            json!({"config": sleeper(), "region": "waw"}),
            422,
            "nearest here: iad",
        ),
        (json!({"config": sleeper(), "name": "a b"}), 422, "name"),
        (
            json!({"config": sleeper(), "min_secrets_version": 3}),
            422,
            "min_secrets_version",
        ),
        (
            json!({"config": sleeper(), "lease_ttl": -1}),
            422,
            "lease ttl",
        ),
        (
            json!({"config": {"image": "missing:1"}}),
            422,
            "config.image",
        ),
        (
            json!({"config": {"image": "x", "standbys": ["0123456789abcd"]}}),
            422,
            "config.standbys[0]",
        ),
        (
            json!({"config": {"image": "x", "guest": {"cpu_kinds": "shared"}}}),
            400,
            "did you mean \"cpu_kind\"?",
        ),
        (json!({"confg": sleeper()}), 400, "did you mean \"config\"?"),
        (json!({}), 422, "config is required"),
    ] {
        let refusal = stage.post(MACHINES, body.clone()).await.refused(status);
        assert!(refusal.contains(text), "{body}: {refusal}");
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    let stage = Stage::set().await;
    let mut config = sleeper();
    config["metadata"] = json!({"role": "web"});
    let (one, _) = stage.machine(config).await;
    stage.machine(sleeper()).await;
    let (gone, _) = stage.machine(sleeper()).await;
    stage
        .delete(&format!("{gone}?force=true"))
        .await
        .expect(200);
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    for (query, count) in [
        ("", 2),
        ("?include_deleted=true", 3),
        ("?state=stopped", 1),
        ("?state=started&state=stopped", 2),
        ("?region=iad", 2),
        ("?region=fra", 0),
        ("?metadata.role=web", 1),
        ("?metadata.role=db", 0),
    ] {
        let found = stage.get(&format!("{MACHINES}{query}")).await.expect(200);
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    let summary = stage
        .get(&format!("{MACHINES}?summary=true"))
        .await
        .expect(200);
    assert_eq!(summary[0].get("config"), None);
    assert!(!summary[0]["events"].as_array().unwrap().is_empty());
    stage
        .get(&format!("{MACHINES}?state=dancing"))
        .await
        .refused(400);
    stage
        .get(&format!("{MACHINES}?regions=iad"))
        .await
        .refused(400);

    let page = stage
        .get("/v1/orgs/personal/machines?limit=1")
        .await
        .expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/v1/orgs/personal/machines?cursor={cursor}");
    let rest = stage.get(&path).await.expect(200);
    assert_eq!(rest["machines"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], "");
    assert_ne!(page["machines"][0]["id"], rest["machines"][0]["id"]);
    assert_eq!(rest["machines"][0]["app_name"], "stage");
}

#[tokio::test]
async fn metadata_asks_for_no_lease_and_makes_no_version() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    stage
        .post(&format!("{one}/lease"), json!({"ttl": 60}))
        .await
        .expect(201);
    let key = format!("{one}/metadata/colour");
    stage
        .post(&key, json!({"value": "green"}))
        .await
        .expect(204);
    assert_eq!(stage.get(&key).await.expect(200), json!({"value": "green"}));
    let all = format!("{one}/metadata");
    let put = async |method: Method, body: Value| {
        let body = body.to_string().into_bytes();
        stage.call(method, &all, &[], Some(body)).await
    };
    let patched = put(Method::PATCH, json!({"metadata": {"a": "1"}}))
        .await
        .expect(200);
    assert_eq!(patched, json!({"a": "1", "colour": "green"}));
    let version = machine["instance_id"].clone();
    let replaced = json!({"metadata": {"b": "2"}, "machine_version": version});
    assert_eq!(
        put(Method::PUT, replaced).await.expect(200),
        json!({"b": "2"})
    );
    let stale = json!({"metadata": {}, "machine_version": "01ARYZ6S410000000000000000"});
    put(Method::PUT, stale).await.refused(412);
    stage.delete(&format!("{one}/metadata/b")).await.expect(204);
    assert_eq!(stage.get(&all).await.expect(200), json!({}));
    stage.get(&key).await.refused(404);
    assert_eq!(stage.get(&one).await.expect(200)["instance_id"], version);
}

#[tokio::test]
async fn the_rest_of_a_machine() {
    let stage = Stage::set().await;
    let mut config = sleeper();
    config["schedule"] = json!("*/5 * * * *");
    let (one, machine) = stage.machine(config).await;
    let schedule = stage.get(&format!("{one}/schedule")).await.expect(200);
    assert_eq!(schedule["schedule"], "*/5 * * * *");
    assert!(schedule["next_at"].is_string());
    assert_eq!(schedule["runs"][0]["outcome"], "skipped");
    let memory = stage.get(&format!("{one}/memory")).await.expect(200);
    assert_eq!(memory, json!({"limit_mb": 256, "available_mb": 256}));
    for (limit, status) in [(json!(128), 200), (json!(15), 422), (json!(257), 422)] {
        let body = json!({ "limit_mb": limit });
        let answer = stage.put(&format!("{one}/memory"), body).await;
        match status {
            200 => assert_eq!(answer.expect(200)["limit_mb"], limit),
            refused => drop(answer.refused(refused)),
        }
    }
    // What was already so is no change.
    let body = json!({ "limit_mb": 256 });
    stage.put(&format!("{one}/memory"), body).await.expect(200);
    let events = stage.get("/v1/events?after=0").await.expect(200);
    let told: Vec<&Value> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "machine.memory")
        .collect();
    assert_eq!(told.len(), 1, "{events}");
    assert_eq!(told[0]["before"], json!({"limit_mb": 256}));
    assert_eq!(told[0]["after"], json!({"limit_mb": 128}));
    let answer = stage
        .post(&format!("{one}/memory/reclaim"), json!({"amount_mb": 64}))
        .await;
    assert_eq!(answer.expect(200), json!({"actual_mb": 7}));
    stage
        .post(&format!("{one}/memory/reclaim"), json!({"amount_mb": 0}))
        .await
        .refused(422);
    let processes = stage.get(&format!("{one}/ps")).await.expect(200);
    assert_eq!(processes[0]["listen_sockets"][0]["address"], "0.0.0.0:8080");
    for (signal, number) in [(json!(9), 9), (json!("SIGUSR1"), 10)] {
        stage
            .post(&format!("{one}/signal"), json!({"signal": signal}))
            .await
            .expect(200);
        assert_eq!(stage.host.signals().last().unwrap().1.number(), number);
    }
    stage
        .post(&format!("{one}/signal"), json!({}))
        .await
        .refused(422);
    stage
        .post(&format!("{one}/stop"), json!({"signal": "SIGNOSE"}))
        .await
        .refused(422);
    stage
        .post(&format!("{one}/stop"), json!({"timeout": "9h"}))
        .await
        .refused(422);
    stage
        .post(&one, json!({"config": sleeper(), "region": "fra"}))
        .await
        .refused(422);
    let id: mayfly_types::MachineId = machine["id"].as_str().unwrap().parse().unwrap();
    stage.host.exit(id, 3);
    stage
        .get(&format!("{one}/wait?state=stopped&timeout=10"))
        .await
        .expect(200);
    let events = stage
        .get(&format!("{one}/events?limit=1"))
        .await
        .expect(200);
    assert_eq!(events[0]["type"], "exit");
    assert_eq!(events[0]["request"]["exit_event"]["exit_code"], 3);
    assert_eq!(events[0]["source"], "flyd");
}
