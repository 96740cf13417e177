use std::time::Duration;

use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

const MACHINES: &str = "/v1/apps/stage/machines";

/// Asks until the fact holds.
pub(crate) async fn wait_until(stage: &Stage, path: &str, fact: impl Fn(&Value) -> bool) {
    let asked = async {
        loop {
            let answer = stage.get(path).await;
            if fact(&answer.body) {
                return;
            }
            // The fact is waited for by the log's own stream of changes.
            let mut news = stage.store.watch();
            let _ = tokio::time::timeout(Duration::from_millis(200), news.changed()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked)
        .await
        .expect("the fact comes true");
}

#[tokio::test]
async fn a_creation_the_host_never_heard_of_is_undone() {
    let stage = Stage::set().await;
    stage.host.fail("create", true);
    let body = json!({"config": sleeper(), "name": "half"})
        .to_string()
        .into_bytes();
    let headers = [("idempotency-key", "k")];
    let failed = stage
        .call(Method::POST, MACHINES, &headers, Some(body.clone()))
        .await;
    assert_eq!(failed.status, 503, "{}", failed.body);
    wait_until(&stage, MACHINES, |machines| *machines == json!([])).await;
    // A machine that never was does not keep the app's lines from being read.
    stage.get("/api/v1/apps/stage/logs").await.expect(200);
    stage.host.fail("create", false);
    let made = stage
        .call(Method::POST, MACHINES, &headers, Some(body))
        .await
        .expect(200);
    assert_eq!(made["name"], "half");
    assert_eq!(stage.host.machines().len(), 1);
}

#[tokio::test]
async fn a_creation_waits_for_its_undoing_until_the_host_answers_again() {
    let stage = Stage::set().await;
    stage.host.fail("create", true);
    stage.host.fail("report", true);
    stage
        .post(MACHINES, json!({"config": sleeper()}))
        .await
        .refused(503);
    let listed = stage.get(MACHINES).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    // As after a crash between the record and the host.
    let stage = stage.restart().await;
    stage.host.fail("report", false);
    wait_until(&stage, MACHINES, |machines| *machines == json!([])).await;
}

#[tokio::test]
async fn an_update_the_host_did_not_take_is_undone() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    stage.host.fail("update", true);
    let mut config = sleeper();
    config["env"] = json!({"A": "b"});
    stage
        .post(&one, json!({"config": config}))
        .await
        .refused(503);
    wait_until(&stage, &one, |now| {
        now["instance_id"] == machine["instance_id"]
    })
    .await;
    let now = stage.get(&one).await.expect(200);
    assert_eq!(now["config"], sleeper());
    let versions = stage.get(&format!("{one}/versions")).await.expect(200);
    assert_eq!(versions.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_restart() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    let stage = stage.restart().await;
    let now = stage.get(&one).await.expect(200);
    assert_eq!(now["instance_id"], machine["instance_id"]);
    assert_eq!(now["state"], "started");
    stage
        .get(&format!("{one}/wait?state=started&timeout=5"))
        .await
        .expect(200);
}
