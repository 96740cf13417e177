//! What is asked of the cloud when machines change.

use serde_json::json;

use crate::runner::User;
use crate::sample::{self, ID};
use crate::server::{BROKEN_OFF, Server};

fn cloud() -> Server {
    let server = Server::start();
    let one = format!("/v1/apps/web/machines/{ID}");
    let mut healthy = sample::machine();
    healthy["checks"] = json!([]);
    server
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/machines", 200, json!([sample::machine()]))
        .says("POST /v1/apps/web/machines", 200, &healthy)
        .says(&format!("GET {one}"), 200, &healthy)
        .says(
            &format!("GET {one}/wait"),
            408,
            json!({ "error": "deadline_exceeded" }),
        )
        .says(&format!("GET {one}/wait"), 200, json!({ "ok": true }))
        .says(&format!("POST {one}"), 200, &healthy)
        .says(
            &format!("POST {one}/start"),
            200,
            json!({ "previous_state": "stopped" }),
        )
        .says(&format!("POST {one}/"), 200, json!({ "ok": true }))
        .says(&format!("DELETE {one}"), 200, json!({ "ok": true }));
    server
}

#[test]
fn run_creates_a_machine_and_waits_for_it() {
    let server = cloud();
    let user = User::of(&server);
    let ran = user.run(
        "machine run nginx:1.27 --env A=1 -a web --name one --region iad -p 443:8080/tcp:tls:http --metadata role=x -- -g off",
    );
    let text = ran.ok();
    for part in [
        "Success! A Machine has been successfully launched in app web\n",
        &format!(" Machine ID: {ID}\n"),
        "  fdaa:0:1:a7b:1:2:3:2\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let asked = server.asked_for("POST /v1/apps/web/machines")[0].json();
    assert_eq!(
        asked["config"],
        json!({
            "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
            "env": { "A": "1" }, "metadata": { "role": "x" },
            "services": [{ "protocol": "tcp", "internal_port": 8080,
                "ports": [{ "port": 443, "handlers": ["tls", "http"] }] }],
            "image": "nginx:1.27", "init": { "cmd": ["-g", "off"] },
        })
    );
    assert_eq!(
        (&asked["name"], &asked["region"]),
        (&json!("one"), &json!("iad"))
    );
    assert!(asked["idempotency_key"].is_string() && asked.get("skip_launch").is_none());
    assert_eq!(
        server
            .asked_for(&format!("GET /v1/apps/web/machines/{ID}/wait"))
            .len(),
        2
    );
}

#[test]
fn a_machine_that_fails_to_start_fails_the_command() {
    let server = cloud();
    let mut failed = sample::machine();
    failed["state"] = json!("failed");
    server
        .says("GET /v1/apps/bad", 200, sample::app())
        .says("POST /v1/apps/bad/machines", 200, &failed)
        .says("GET /v1/apps/bad/machines/", 200, &failed)
        .says(
            &format!("GET /v1/apps/bad/machines/{ID}/wait"),
            200,
            json!({ "ok": true }),
        );
    let ran = User::of(&server).run("machine run nginx -a bad");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("did not start") && ran.stderr.contains("logs --app bad"),
        "{ran:?}"
    );
}

#[test]
fn waiting_goes_on_while_the_cloud_restarts() {
    let server = cloud();
    let wait = format!("GET /v1/apps/web/machines/{ID}/wait?state=settled");
    server
        .says(&wait, BROKEN_OFF, "")
        .says(
            &wait,
            503,
            json!({ "error": "the API is being restarted; wait again" }),
        )
        .says(&wait, 200, json!({ "ok": true }));
    let ran = User::of(&server).run(&format!("machine wait {ID} -a web"));
    assert_eq!(
        ran.ok(),
        format!("Machine {ID} reached state \"started\"\n")
    );
    assert_eq!(server.asked_for(&wait).len(), 3);
}

#[test]
fn create_does_not_start() {
    let server = cloud();
    User::of(&server).run("machine create nginx -a web").ok();
    assert_eq!(
        server.asked_for("POST /v1/apps/web/machines")[0].json()["skip_launch"],
        true
    );
    assert!(
        server
            .asked_for(&format!("GET /v1/apps/web/machines/{ID}/wait"))
            .is_empty()
    );
}

#[test]
fn run_creates_a_missing_app_when_told_to() {
    let server = cloud();
    server
        .says("GET /v1/apps/fresh", 404, json!({ "error": "not found" }))
        .says("POST /v1/apps?", 201, json!({ "name": "fresh" }))
        .says("POST /v1/apps/fresh/machines", 200, sample::machine())
        .says(
            "GET /v1/apps/fresh/machines/",
            200,
            json!({ "state": "started" }),
        );
    let json = User::of(&server).run("machine run nginx -a fresh --yes --json --detach");
    assert_eq!(json.json()["state"], "started");
    assert_eq!(
        server.asked_for("POST /v1/apps?wait=true")[0].json()["app_name"],
        "fresh"
    );
}

#[test]
fn update_keeps_what_no_flag_names_and_says_which_version_it_read() {
    let server = cloud();
    let user = User::of(&server);
    user.run(&format!(
        "machine update {ID} -a web --vm-memory 512 --image nginx:1.28 -y"
    ))
    .ok();
    let asked = server.asked_for("POST /v1/apps/web/machines")[0].json();
    let mut wanted = sample::machine()["config"].clone();
    wanted["guest"]["memory_mb"] = json!(512);
    wanted["image"] = json!("nginx:1.28");
    assert_eq!(asked["config"], wanted);
    assert_eq!(asked["current_version"], sample::machine()["instance_id"]);
}

#[test]
fn clone_runs_exactly_what_the_original_runs() {
    let server = cloud();
    let user = User::of(&server);
    user.run(&format!(
        "machine clone {ID} -a web --region fra --standby-for source --name copy"
    ))
    .ok();
    let asked = server.asked_for("POST /v1/apps/web/machines")[0].json();
    assert_eq!(
        asked["config"]["image"],
        "docker.io/library/nginx:1.27@sha256:aa11"
    );
    assert_eq!(asked["config"]["standbys"], json!([ID]));
    assert_eq!(
        asked["config"]["from_the_future"],
        sample::machine()["config"]["from_the_future"]
    );
    assert_eq!(
        (&asked["region"], &asked["skip_launch"]),
        (&json!("fra"), &json!(true))
    );
}

#[test]
fn lifecycle_commands_ask_for_what_they_say() {
    let server = cloud();
    let user = User::of(&server).with("FLY_APP", "web");
    let last = || {
        let mut asked = server.asked();
        asked.retain(|asked| !asked.line.starts_with("GET "));
        let asked = asked.pop().unwrap();
        (
            asked
                .line
                .replace(&format!("/v1/apps/web/machines/{ID}"), "…"),
            asked.json(),
        )
    };
    assert_eq!(
        user.run(&format!("machine start {ID}")).ok(),
        format!("{ID} has been started\n")
    );
    assert_eq!(last().0, "POST …/start");
    user.run(&format!("machine stop {ID} -s term --timeout 7"))
        .ok();
    assert_eq!(
        last(),
        (
            "POST …/stop".to_owned(),
            json!({ "signal": "SIGTERM", "timeout": "7s" })
        )
    );
    assert_eq!(
        user.run("machine suspend still-pond-1 -w 5s").ok(),
        format!("{ID} has been suspended\n")
    );
    assert_eq!(last().0, "POST …/suspend");
    user.run(&format!("machine restart {ID} --force --time 3"))
        .ok();
    assert_eq!(last().0, "POST …/restart?force_stop=true&timeout=3s");
    assert_eq!(
        user.run(&format!("machine kill {ID}")).ok(),
        "kill signal has been sent\n"
    );
    assert_eq!(
        last(),
        ("POST …/signal".to_owned(), json!({ "signal": "SIGKILL" }))
    );
    user.run(&format!("machine cordon {ID}")).ok();
    assert_eq!(last().0, "POST …/cordon");
    user.run(&format!("machine uncordon {ID}")).ok();
    assert_eq!(last().0, "POST …/uncordon");
    let refused = user.run(&format!("machine destroy {ID}"));
    assert!(refused.failed().contains("--force"), "{refused:?}");
    assert_eq!(
        user.run(&format!("machine destroy {ID} -f")).ok(),
        format!("{ID} has been destroyed\n")
    );
    assert_eq!(last().0, "DELETE …?force=true");
    let waited = user.run(&format!("machine wait {ID} --state started"));
    assert_eq!(
        waited.ok(),
        format!("Machine {ID} reached state \"started\"\n")
    );
    assert_eq!(
        user.run("apps restart").ok(),
        format!("Machine {ID} restarted successfully!\n")
    );
}

#[test]
fn one_unknown_machine_among_several_stops_the_command_before_it_acts() {
    let server = cloud();
    server.says(
        "GET /v1/apps/web/machines/00000000000000",
        404,
        json!({ "error": "not found" }),
    );
    let ran = User::of(&server).run(&format!(
        "machine destroy {ID} 00000000000000 --force -a web"
    ));
    assert!(ran.failed().contains("00000000000000"), "{ran:?}");
    assert!(server.asked_for("DELETE").is_empty());
}
