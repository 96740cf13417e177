use std::time::Duration;

use mayfly_control::ApiLimits;
use mayfly_net::Method;
use serde_json::json;

use crate::stage::{Stage, sleeper};

const MACHINES: &str = "/v1/apps/stage/machines";

#[tokio::test]
async fn callers_are_held_to_the_profile_and_told_when_to_come_back() {
    let stage = Stage::limited(ApiLimits::Seed001).await;
    let create = async || stage.post(MACHINES, json!({"config": sleeper()})).await;
    for left in (0..10).rev() {
        let made = create().await;
        assert_eq!(made.header("x-ratelimit-limit"), Some("10"));
        assert_eq!(
            made.header("x-ratelimit-remaining"),
            Some(left.to_string().as_str())
        );
        made.expect(200);
    }
    let late = create().await;
    assert_eq!(late.header("retry-after"), Some("6"));
    assert_eq!(late.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(late.body["status"], "rate_limited");
    let text = late.refused(429);
    assert!(text.contains("create machines 10 per minute"), "{text}");
    // Another action has a bucket of its own, and so has what is not limited.
    stage.get(MACHINES).await.expect(200);
    stage.get("/v1/platform/regions").await.expect(200);
    // After the wait one was told there is a token, and one only.
    stage.clock.advance(Duration::from_secs(6));
    create().await.expect(200);
    create().await.refused(429);
}

#[tokio::test]
async fn the_official_profile_counts_by_machine_and_action() {
    let stage = Stage::limited(ApiLimits::Official).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = stage.post(MACHINES, json!({"config": sleeper()})).await;
        ids.push(made.expect(200)["id"].as_str().unwrap().to_owned());
    }
    let cordon = async |id: &str| {
        let path = format!("{MACHINES}/{id}/cordon");
        stage.call(Method::POST, &path, &[], None).await
    };
    for _ in 0..3 {
        assert_eq!(cordon(&ids[0]).await.status, 200);
    }
    assert_eq!(cordon(&ids[0]).await.header("retry-after"), Some("1"));
    assert_eq!(cordon(&ids[1]).await.status, 200);
    for _ in 0..10 {
        stage
            .get(&format!("{MACHINES}/{}", ids[0]))
            .await
            .expect(200);
    }
    stage
        .get(&format!("{MACHINES}/{}", ids[0]))
        .await
        .refused(429);
}
