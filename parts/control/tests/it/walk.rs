use std::time::Duration;

use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn an_app_and_a_machine_as_the_documentation_walks() {
    let stage = Stage::set().await;
    let taken = stage
        .post("/v1/apps", json!({"name": "stage", "org_slug": "personal"}))
        .await;
    assert_eq!(taken.body["status"], "name_taken");
    assert!(taken.refused(422).contains("already been taken"));
    let app = stage.get("/v1/apps/stage").await.expect(200);
    assert_eq!(app["organization"]["slug"], "personal");
    assert_eq!(app["status"], "pending");
    assert_eq!(app["app_url"], "http://stage.test.localhost:8080/");

    let machine = stage
        .post(
            "/v1/apps/stage/machines",
            json!({"name": "quirky", "region": "iad", "config": sleeper()}),
        )
        .await
        .expect(200);
    let id = machine["id"].as_str().unwrap();
    let first = machine["instance_id"].as_str().unwrap().to_owned();
    assert_eq!(machine["state"], "started");
    assert_eq!(machine["host_status"], "ok");
    assert_eq!(
        machine["private_ip"].as_str().unwrap().split(':').count(),
        8
    );
    assert_eq!(machine["image_ref"]["labels"]["fly.version"], "7");
    assert!(
        machine["image_ref"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(machine["config"], sleeper());
    let one = format!("/v1/apps/stage/machines/{id}");
    let named = stage
        .get("/v1/apps/stage/machines/quirky")
        .await
        .expect(200);
    assert_eq!(named["id"], id);
    let wait = format!("{one}/wait?instance_id={first}&state=started&timeout=5");
    assert_eq!(stage.get(&wait).await.expect(200), json!({"ok": true}));

    stage.clock.advance(Duration::from_secs(1));
    let mut config = sleeper();
    config["env"] = json!({"A": "b"});
    let updated = stage
        .post(&one, json!({"config": config, "current_version": first}))
        .await
        .expect(200);
    assert_ne!(updated["instance_id"], json!(first));
    let stale = json!({"config": config, "current_version": first});
    assert!(
        stage
            .post(&one, stale)
            .await
            .refused(412)
            .contains("version")
    );
    let versions = stage.get(&format!("{one}/versions")).await.expect(200);
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(versions[1]["user_config"], sleeper());

    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    let started = stage
        .post(&format!("{one}/start"), json!({}))
        .await
        .expect(200);
    assert_eq!(started["previous_state"], "stopped");
    stage
        .call(Method::POST, &format!("{one}/suspend"), &[], None)
        .await
        .expect(200);
    let resumed = stage
        .post(&format!("{one}/start"), json!({}))
        .await
        .expect(200);
    assert_eq!(resumed["previous_state"], "suspended");
    stage
        .post(
            &format!("{one}/restart?timeout=10s&force_stop=false"),
            json!({}),
        )
        .await
        .expect(200);

    stage
        .post(&format!("{one}/cordon"), json!({}))
        .await
        .expect(200);
    assert_eq!(stage.get(&one).await.expect(200)["cordoned"], true);
    stage
        .post(&format!("{one}/uncordon"), json!({}))
        .await
        .expect(200);
    assert_eq!(stage.get(&one).await.expect(200)["cordoned"], false);

    let events = stage
        .get(&format!("{one}/events?limit=50"))
        .await
        .expect(200);
    let kinds: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    for kind in ["launch", "start", "update", "stop", "suspend", "restart"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    assert_eq!(kinds.last(), Some(&"launch"), "newest first");

    assert!(stage.delete(&one).await.refused(409).contains("started"));
    assert_eq!(
        stage.delete(&format!("{one}?force=true")).await.expect(200),
        json!({"ok": true})
    );
    stage.delete(&one).await.expect(200);
    assert_eq!(stage.get(&one).await.expect(200)["state"], "destroyed");
    stage
        .get(&format!("{one}/wait?state=destroyed"))
        .await
        .expect(200);
    stage
        .get(&format!("{one}/wait?state=started"))
        .await
        .expect(404);
    assert_eq!(
        stage.get("/v1/apps/stage/machines").await.expect(200),
        json!([])
    );
    assert!(stage.post(&format!("{one}/start"), json!({})).await.status >= 400);
    stage.delete("/v1/apps/stage").await.expect(202);
    assert!(
        stage
            .get("/v1/apps/stage")
            .await
            .refused(404)
            .contains("Could not find App")
    );
    stage
        .post("/v1/apps", json!({"app_name": "stage"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn deleting_an_app_takes_its_machines_with_it_when_forced() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let refusal = stage.delete("/v1/apps/stage").await.refused(422);
    assert!(refusal.contains("not stopped"), "{refusal}");
    stage.delete("/v1/apps/stage?force=true").await.expect(202);
    assert_eq!(stage.host.machines(), []);
    stage.get(&one).await.expect(404);
    // The upstream client has asked its user and sends no force.
    stage
        .post("/v1/apps", json!({"app_name": "stage"}))
        .await
        .expect(201);
    stage.machine(sleeper()).await;
    let agent = [("user-agent", "flyctl/0.3.1")];
    stage
        .call(Method::DELETE, "/v1/apps/stage", &agent, None)
        .await
        .expect(202);
}

#[tokio::test]
async fn the_configuration_comes_back_to_the_letter() {
    let stage = Stage::set().await;
    let letter = r#"{"image":"sleeper:1", "metadata":{"b":"1","a":"2"},"services":[{"internal_port":80,"protocol":"tcp","autostop":"off","ports":[{"port":80,"handlers":["http"]}],"force_instance_key":null}],"spot":{"max_price_fraction":0.50}}"#;
    let body = format!(r#"{{"config":{letter}}}"#);
    let path = "/v1/apps/stage/machines";
    let machine = stage
        .call(Method::POST, path, &[], Some(body.into_bytes()))
        .await
        .expect(200);
    let stored = stage
        .store
        .machine(machine["id"].as_str().unwrap().parse().unwrap())
        .await
        .unwrap();
    assert_eq!(stored.config.get(), letter);
    assert_eq!(
        machine["config"],
        serde_json::from_str::<Value>(letter).unwrap()
    );
}
