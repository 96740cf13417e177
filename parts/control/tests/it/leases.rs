use std::time::Duration;

use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn a_lease_keeps_others_out_until_it_ends() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    let path = format!("{one}/lease");
    assert_eq!(stage.get(&path).await.refused(404), "lease not found");
    let body = json!({"ttl": 60, "description": "deploying"});
    let lease = stage.post(&path, body).await.expect(201);
    assert_eq!(lease["status"], "success");
    assert_eq!(lease["data"]["version"], machine["instance_id"]);
    let nonce = lease["data"]["nonce"].as_str().unwrap();
    let shown = stage.get(&path).await.expect(200);
    assert_eq!(shown["data"], lease["data"]);

    let held = stage.post(&path, json!({"ttl": 5})).await.refused(409);
    assert!(held.starts_with("lease currently held by admin@"), "{held}");
    for (method, rest) in [
        (Method::POST, "/stop"),
        (Method::POST, "/start"),
        (Method::POST, "/suspend"),
        (Method::POST, "/restart"),
        (Method::POST, "/cordon"),
        (Method::DELETE, "?force=true"),
        (Method::DELETE, "/lease"),
    ] {
        let path = format!("{one}{rest}");
        stage.call(method, &path, &[], None).await.refused(409);
    }
    let update = json!({"config": sleeper()});
    stage.post(&one, update.clone()).await.refused(409);

    let with = [("fly-machine-lease-nonce", nonce)];
    let again = stage
        .call(Method::POST, &format!("{path}?ttl=120"), &with, None)
        .await
        .expect(200);
    assert_eq!(again["data"]["nonce"], nonce);
    assert!(again["data"]["expires_at"].as_i64() > lease["data"]["expires_at"].as_i64());
    let body = Some(update.to_string().into_bytes());
    stage
        .call(Method::POST, &one, &with, body)
        .await
        .expect(200);
    stage
        .call(Method::DELETE, &path, &with, None)
        .await
        .expect(200);
    let released = stage
        .call(Method::DELETE, &path, &with, None)
        .await
        .refused(404);
    assert_eq!(released, "lease not found");
    stage
        .post(&format!("{path}?ttl=1"), json!({}))
        .await
        .expect(201);
    stage.clock.advance(Duration::from_secs(2));
    stage.get(&path).await.refused(404);
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    stage.post(&path, json!({"ttl": -5})).await.refused(422);
    stage
        .post(&format!("{path}?ttl=soon"), Value::Null)
        .await
        .refused(400);
}

#[tokio::test]
async fn of_two_who_want_the_same_one_wins() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    let update = json!({"config": sleeper(), "current_version": machine["instance_id"]});
    let (first, second) = tokio::join!(stage.post(&one, update.clone()), stage.post(&one, update));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let path = format!("{one}/lease");
    let take = || stage.post(&path, json!({"ttl": 60}));
    let (first, second, third) = tokio::join!(take(), take(), take());
    let mut statuses = [first.status, second.status, third.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409]);
}
