use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

const SECRETS: &str = "/v1/apps/stage/secrets";
const MACHINES: &str = "/v1/apps/stage/machines";

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn rows(body: &Value) -> Vec<(String, String)> {
    let rows = body["secrets"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        (text("name"), text("status"))
    })
    .collect()
}

#[tokio::test]
async fn machines_get_the_secrets_of_the_moment_they_are_made_or_updated() {
    let stage = Stage::set().await;
    let body = json!({"values": {"A": "one", "B": "two"}});
    let set = stage.post(SECRETS, body).await.expect(200);
    assert_eq!(set["version"], 1);
    let (path, made) = stage.machine(sleeper()).await;
    let machine = made["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        stage.host.secrets(machine),
        env(&[("A", "one"), ("B", "two")])
    );

    let body = json!({"values": {"A": "three", "B": null}});
    let staged = stage.post(SECRETS, body).await.expect(200);
    assert_eq!(staged["version"], 2);
    assert_eq!(rows(&staged), [("A".to_owned(), "Staged".to_owned())]);
    assert_eq!(stage.host.secrets(machine).len(), 2);

    let update = json!({"config": sleeper(), "min_secrets_version": 2});
    stage.post(&path, update).await.expect(200);
    assert_eq!(stage.host.secrets(machine), env(&[("A", "three")]));
    let listed = stage.get(SECRETS).await.expect(200);
    assert_eq!(rows(&listed), [("A".to_owned(), "Deployed".to_owned())]);

    let without = json!({"config": sleeper(), "skip_secrets": true});
    stage.post(&path, without).await.expect(200);
    assert_eq!(stage.host.secrets(machine), env(&[]));

    let ahead = json!({"config": sleeper(), "min_secrets_version": 3});
    let refused = stage.post(MACHINES, ahead).await.refused(422);
    assert!(refused.contains("at version 2"), "{refused}");
}

#[tokio::test]
async fn values_go_in_and_never_come_out() {
    let stage = Stage::set().await;
    let one = format!("{SECRETS}/TOKEN");
    let canary = "canary-c0ffee";
    let answers = [
        stage.post(&one, json!({"value": canary})).await,
        stage.post(SECRETS, json!({"values": {"X": canary}})).await,
        stage.get(SECRETS).await,
        stage.get(&one).await,
        stage.get(&format!("{SECRETS}?show_secrets=true")).await,
        stage.get("/v1/events?after=0").await,
        stage
            .post(&one, json!({"value": format!("{canary}\0")}))
            .await,
        stage
            .post(&one, json!({"value": canary, "more": canary}))
            .await,
        stage
            .post(&one, json!({"value": canary.repeat(10_000)}))
            .await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 403, 200, 422, 400, 422]);
    for answer in &answers {
        assert!(
            !answer.body.to_string().contains("canary"),
            "{}",
            answer.body
        );
    }
    let digest = |answer: &Value| answer["digest"].as_str().unwrap().to_owned();
    let first = answers[3].body.clone();
    assert_eq!(digest(&first).len(), 16);
    // The same value under another name is recognised as the same.
    let listed = &answers[2].body["secrets"];
    assert_eq!(digest(&listed[0]), digest(&listed[1]));
}

#[tokio::test]
async fn wrong_requests_are_refused_by_name() {
    let stage = Stage::set().await;
    for (body, text) in [
        (json!({}), "values is required"),
        (json!({"values": {"1A": "x"}}), "not beginning with a digit"),
        (json!({"values": {"A-B": null}}), "secret name `A-B`"),
    ] {
        let refused = stage.post(SECRETS, body).await.refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    // Together they fit into an environment, or are refused when they are set, not when a machine starts.
    let ten: BTreeMap<String, String> = (0..10)
        .map(|number| (format!("V{number}"), "x".repeat(90 << 10)))
        .collect();
    stage
        .post(SECRETS, json!({"values": ten}))
        .await
        .expect(200);
    let more = json!({"values": {"V10": "x".repeat(90 << 10), "V11": "x".repeat(90 << 10)}});
    let refused = stage.post(SECRETS, more).await.refused(422);
    assert!(refused.contains("together"), "{refused}");
    let all: BTreeMap<&String, Value> = ten.keys().map(|name| (name, Value::Null)).collect();
    let unset = stage
        .post(SECRETS, json!({"values": all}))
        .await
        .expect(200);
    let version = &unset["version"];
    // Clients learn the version by deleting what does not exist.
    for name in ["NONE", "not-a-name"] {
        let body = stage.delete(&format!("{SECRETS}/{name}")).await.expect(200);
        assert_eq!(&body["version"], version);
    }
    let ahead = stage
        .get(&format!("{SECRETS}?version=3"))
        .await
        .refused(422);
    assert!(ahead.contains("at version 2"), "{ahead}");
    stage.get(&format!("{SECRETS}/NONE")).await.refused(404);
}
