//! The database of the control plane goes away: edges keep serving, waking and watching.

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, PostgresDoor, wait_until};
use serde_json::json;

#[test]
fn edges_serve_wake_and_watch_while_the_store_is_away() {
    let door = PostgresDoor::new();
    let mut stage = Stage::set_with(CloudOptions {
        config: Some(format!("[store]\nurl_file = {:?}\n", door.url_file())),
        ..CloudOptions::default()
    });
    stage.import_echo();
    let watched = || {
        Stage::echo(json!({
            "checks": [{"type": "http", "path": "/check", "interval": "1s", "timeout": "1s"}],
        }))
    };
    let ids: Vec<String> = (0..2).map(|_| stage.start(watched())).collect();
    stage.create_app("sleepy", "personal");
    stage.app = "sleepy".to_owned();
    let asleep = stage.start(Stage::echo(json!({})));
    stage.act(&asleep, "stop", json!({}));
    stage.wait(&asleep, "stopped");
    let machine = |app: &str, fields: &[(&str, &str)], path: &str| {
        let answer = Stage::ask(stage.cloud.edge(), app, path, fields).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["machine"].as_str().unwrap().to_owned()
    };
    for id in &ids {
        wait_until("both answer", || {
            let forced = [("fly-force-instance-id", id.as_str())];
            Stage::ask(stage.cloud.edge(), "stage", "/", &forced)
                .is_ok_and(|answer| answer.status == 200)
        });
    }

    door.shut();
    let api = stage.cloud.get("/v1/apps?org_slug=personal");
    assert_eq!(api.status, 503, "the API needs the store: {}", api.text());
    assert!(ids.contains(&machine("stage", &[], "/")));
    assert_eq!(machine("sleepy", &[], "/"), asleep);
    // A machine whose check fails gets nothing more.
    let first = [("fly-force-instance-id", ids[0].as_str())];
    assert_eq!(machine("stage", &first, "/?healthy=no"), ids[0]);
    let only_second = || (0..20).all(|_| machine("stage", &[], "/") == ids[1]);
    wait_until("the other machine gets all requests", only_second);
    assert_eq!(machine("stage", &first, "/?healthy=yes"), ids[0]);
    wait_until("it is back", || !only_second());

    door.open();
    wait_until("the API is back", || {
        stage.cloud.get("/v1/apps?org_slug=personal").status == 200
    });
    wait_until("what happened meanwhile is told", || {
        stage.state(&asleep) == "started"
    });
}
