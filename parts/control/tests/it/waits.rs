use serde_json::json;

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn waiting_wakes_when_the_state_comes() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    for (wanted, act) in [
        ("started", "start"),
        ("suspended", "suspend"),
        ("stopped", "stop"),
    ] {
        let path = format!("{one}/wait?state={wanted}&timeout=30");
        let action = format!("{one}/{act}");
        let (waited, acted) = tokio::join!(stage.get(&path), stage.post(&action, json!({})));
        acted.expect(200);
        assert_eq!(waited.expect(200), json!({"ok": true}), "{wanted}");
    }
    stage
        .get(&format!("{one}/wait?state=settled"))
        .await
        .expect(200);
    stage
        .get(&format!("{one}/wait?state=started&state=stopped"))
        .await
        .expect(200);
    let late = stage
        .get(&format!("{one}/wait?state=started&timeout=1"))
        .await
        .refused(408);
    assert!(late.contains("is stopped"), "{late}");
}

#[tokio::test]
async fn waits_that_make_no_sense_are_refused() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    let old = machine["instance_id"].as_str().unwrap();
    stage
        .post(&one, json!({"config": sleeper()}))
        .await
        .expect(200);
    for query in [
        "state=dancing".to_owned(),
        "timeout=0".to_owned(),
        "timeout=61".to_owned(),
        "timeout=soon".to_owned(),
        "instance_id=x".to_owned(),
        "stat=started".to_owned(),
        format!("version={old}"),
        format!("instance_id={old}"),
    ] {
        stage.get(&format!("{one}/wait?{query}")).await.refused(400);
    }
    stage
        .get("/v1/apps/stage/machines/nonesuch/wait")
        .await
        .refused(404);
}

#[tokio::test]
async fn a_start_that_came_and_went_counts() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    let events = stage
        .get(&format!("{one}/events?limit=1"))
        .await
        .expect(200);
    let seen = events[0]["id"].as_str().unwrap();
    stage
        .post(&format!("{one}/start"), json!({}))
        .await
        .expect(200);
    let id: mayfly_types::MachineId = machine["id"].as_str().unwrap().parse().unwrap();
    stage.host.exit(id, 0);
    stage
        .get(&format!("{one}/wait?state=stopped&timeout=10"))
        .await
        .expect(200);
    let path = format!("{one}/wait?state=started&timeout=1");
    stage
        .get(&format!("{path}&from_event_id={seen}"))
        .await
        .expect(200);
    stage.get(&path).await.refused(408);
}
