use std::time::Duration;

use http::Method;
use mayfly_net::{ClientConfig, HttpClient, header};
use serde_json::json;

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn the_log_is_read_with_a_cursor() {
    let stage = Stage::set().await;
    let (one, machine) = stage.machine(sleeper()).await;
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    let mut after = 0;
    let mut kinds = Vec::new();
    loop {
        let path = format!("/v1/events?after={after}&limit=2");
        let page = stage.get(&path).await.expect(200);
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            break;
        }
        for event in events {
            assert!(event["seq"].as_i64().unwrap() > after);
            after = event["seq"].as_i64().unwrap();
            kinds.push(event["kind"].as_str().unwrap().to_owned());
        }
        assert_eq!(page["next"], after);
    }
    for kind in ["app.create", "machine.create", "machine.state"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    let id = machine["id"].as_str().unwrap();
    let path = format!("/v1/events?machine={id}&app=stage");
    let page = stage.get(&path).await.expect(200);
    let events = page["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["machine_id"] == id));
    assert_eq!(events[0]["org"], "personal");
    assert!(events[0]["actor"].as_str().unwrap().starts_with("user:"));
    for wrong in ["after=soon", "limit=0", "machine=x", "app=A"] {
        stage.get(&format!("/v1/events?{wrong}")).await.refused(400);
    }
    stage.get("/v1/events?app=absent").await.refused(404);
}

#[tokio::test]
async fn the_log_is_followed_as_it_grows() {
    let stage = Stage::set().await;
    let client = HttpClient::new(ClientConfig::default());
    let mut stream = client
        .get(format!("http://{}/v1/events?after=0", stage.address))
        .authorization(&format!("Bearer {}", stage.token))
        .header(header::ACCEPT, "text/event-stream")
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let follow = async {
        while !text.contains("event: machine.state") {
            let piece = stream.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(&String::from_utf8_lossy(&piece));
        }
    };
    let act = stage.machine(sleeper());
    let both = async { tokio::join!(follow, act) };
    tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .unwrap();
    assert!(text.contains("event: app.create"), "{text}");
    assert!(text.contains("\"kind\":\"machine.create\""), "{text}");
    assert!(text.contains("id: 2\n"), "{text}");
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let stage = Stage::set().await;
    let wish = json!({"profile": "readonly", "name": "reader"});
    let made = stage
        .post("/v1/orgs/personal/tokens", wish)
        .await
        .expect(201);
    let client = HttpClient::new(ClientConfig::default());
    let mut stream = client
        .get(format!("http://{}/v1/events?after=0", stage.address))
        .authorization(made["token"].as_str().unwrap())
        .header(header::ACCEPT, "text/event-stream")
        .send()
        .await
        .unwrap();
    stream.chunk().await.unwrap().expect("the log is not empty");
    let of_org = stage.get("/v1/orgs/personal/tokens").await.expect(200);
    let id = of_org["tokens"][0]["id"].as_str().unwrap();
    stage.delete(&format!("/v1/tokens/{id}")).await.expect(200);
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("the stream ends");
}

#[tokio::test]
async fn the_newest_part_is_read_and_apps_that_are_gone_are_found() {
    let stage = Stage::set().await;
    let all = stage.get("/v1/events?limit=1000").await.expect(200);
    let last = stage.get("/v1/events?last=2").await.expect(200);
    let (all, two) = (all["events"].as_array().unwrap(), &last["events"]);
    assert_eq!(two.as_array().unwrap(), &all[all.len() - 2..]);
    assert!(last["next"].as_i64() >= two[1]["seq"].as_i64(), "{last}");
    for wrong in ["last=0", "last=1001", "last=1&after=0", "last=1&limit=1"] {
        let refused = stage.get(&format!("/v1/events?{wrong}")).await;
        assert!(refused.refused(400).contains("last"), "{wrong}");
    }

    let wish = json!({"profile": "deploy", "app": "stage", "name": "ci"});
    let made = stage
        .post("/v1/orgs/personal/tokens", wish)
        .await
        .expect(201);
    let kinds = async |path: &str| -> Vec<String> {
        let page = stage.get(path).await.expect(200);
        let events = page["events"].as_array().or(page["entries"].as_array());
        let events = events.unwrap().iter();
        events
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let by_name = "/v1/events?app=stage";
    assert_eq!(kinds(by_name).await[0], "app.create");
    stage.delete("/v1/apps/stage?force=true").await.expect(202);
    let gone = kinds(by_name).await;
    assert!(gone.contains(&"app.delete".to_owned()), "{gone:?}");
    let audit = kinds("/v1/orgs/personal/audit?app=stage").await;
    assert!(audit.contains(&"app.create".to_owned()), "{audit:?}");
    stage.get("/v1/events?app=never").await.refused(404);
    stage
        .get("/v1/orgs/personal/audit?app=never")
        .await
        .refused(404);

    // Whoever had a token for the app alone does not get to know its successor.
    let body = json!({"app_name": "stage", "org_slug": "personal"});
    stage.post("/v1/apps", body).await.expect(201);
    let shown = [("authorization", made["token"].as_str().unwrap())];
    let answer = stage.call(Method::GET, by_name, &shown, None).await;
    answer.refused(401);
}

#[tokio::test]
async fn streams_and_long_polls_do_not_hold_up_a_restart() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let client = HttpClient::new(ClientConfig::default());
    let bearer = format!("Bearer {}", stage.token);
    let api = format!("http://{}", stage.address);
    let mut stream = client
        .get(format!("{api}/v1/events?after=0"))
        .authorization(&bearer)
        .header(header::ACCEPT, "text/event-stream")
        .send()
        .await
        .unwrap();
    stream.chunk().await.unwrap().expect("the log is not empty");
    let poll = client
        .get(format!("{api}{one}/wait?state=stopped"))
        .authorization(&bearer)
        .send();
    let (polled, stage) = tokio::join!(poll, stage.restart());
    // Cut short, or not even begun.
    assert!(polled.map_or(true, |answer| answer.status() == 503));
    while let Ok(Some(_)) = stream.chunk().await {}
    stage.get(&one).await.expect(200);
}
