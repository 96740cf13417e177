//! Releases, with hosts that do at once what they are told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Stage, found};

const RELEASES: &str = "/v1/apps/stage/releases";
const MACHINES: &str = "/v1/apps/stage/machines";

pub(crate) fn release(more: Value) -> Value {
    let mut body = json!({
        "image": "hello:latest",
        "config": {"app": "stage"},
        "ha": false,
        "smoke_checks": false,
        "wait_timeout": "20s",
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

/// Lets time pass until the release is at its end; how that is.
pub(crate) async fn ended(stage: &Stage, version: u32) -> Value {
    found("the release ends", async || {
        let shown = stage
            .get(&format!("{RELEASES}/{version}"))
            .await
            .expect(200);
        if !shown["finished_at"].is_null() {
            return Some(shown);
        }
        stage.clock.advance(Duration::from_secs(1));
        None
    })
    .await
}

#[tokio::test]
async fn what_has_taken_the_requests_over_stays_when_the_old_ones_cannot_go() {
    let stage = Stage::set().await;
    stage.post(RELEASES, release(json!({}))).await.expect(201);
    assert_eq!(ended(&stage, 1).await["status"], "complete");
    let before = stage.get(MACHINES).await.expect(200);
    let old = before[0]["id"].clone();

    stage.host.fail("stop", true);
    let second = release(json!({"strategy": "bluegreen"}));
    stage.post(RELEASES, second).await.expect(201);
    let failed = ended(&stage, 2).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let after = stage.get(MACHINES).await.expect(200);
    let of = |is_old: bool| {
        let mut all = after.as_array().unwrap().iter();
        all.find(|machine| (machine["id"] == old) == is_old)
            .cloned()
    };
    let new = of(false).unwrap_or_else(|| panic!("the new machine is gone: {after}"));
    assert_eq!(
        (&new["state"], new["cordoned"] == true),
        (&json!("started"), false)
    );
    let old = of(true).unwrap();
    assert_eq!(old["cordoned"], true, "{old}");
}

#[tokio::test]
async fn regions_that_do_not_exist_are_refused_when_the_release_is_asked_for() {
    let stage = Stage::set().await;
    for (more, text) in [
        (
            json!({"config": {"app": "stage", "primary_region": "xyz"}}),
            "config.primary_region: region \"xyz\" has no hosts here; use one of iad",
        ),
        (
            json!({"regions": ["iad", "xyz"]}),
            "regions: region \"xyz\" has no hosts here; use one of iad",
        ),
    ] {
        let refused = stage.post(RELEASES, release(more)).await.refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    assert_eq!(stage.get(RELEASES).await.expect(200), json!([]));
}
