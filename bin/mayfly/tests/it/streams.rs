//! Logs and events: pages, following, and readers that go away.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::runner::User;
use crate::sample::{self, ID};
use crate::server::Server;

fn page(messages: &[&str], next: &str) -> Value {
    let lines: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({ "id": "1", "attributes": {
                "timestamp": "2026-11-21T08:00:00.123Z", "message": message, "level": "info", "instance": ID,
                "region": "iad", "meta": { "event": { "provider": "app" } },
            }})
        })
        .collect();
    json!({ "data": lines, "meta": { "next_token": next } })
}

fn cloud() -> Server {
    let server = Server::start();
    server.says("GET /v1/apps/web", 200, sample::app()).says(
        "GET /api/v1/apps/web/logs",
        200,
        page(&["one", r#"{"level":"error","msg":"two"}"#], "7"),
    );
    server
}

#[test]
fn lines_are_printed_and_the_command_ends() {
    let server = cloud();
    let user = User::of(&server);
    let text = user.run("logs -a web --no-tail");
    assert_eq!(
        text.ok(),
        format!(
            "2026-11-21T08:00:00Z app[{ID}] iad [info] one\n\
             2026-11-21T08:00:00Z app[{ID}] iad [error] {{\"level\":\"error\",\"msg\":\"two\"}}\n"
        )
    );
    let json = user.run(&format!("logs -a web -n -j --machine {ID} --region iad"));
    let lines: Vec<Value> = json
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["level"], "error");
    let keys: Vec<&str> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "level",
            "instance",
            "message",
            "region",
            "timestamp",
            "meta"
        ]
    );
    assert_eq!(
        server.asked_for("GET /api").last().unwrap().line,
        format!("GET /api/v1/apps/web/logs?instance={ID}&limit=200")
    );
}

#[test]
fn silence_of_an_unknown_machine_or_app_is_an_error() {
    let server = Server::start();
    server
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/machines", 200, json!([]))
        .says("GET /api/v1/apps/web/logs", 200, page(&[], ""))
        .says("GET /v1/apps/none", 404, json!({ "error": "not found" }))
        .says("GET /api/v1/apps/none/logs", 200, page(&[], ""));
    let user = User::of(&server);
    assert_eq!(user.run("logs -a web -n").ok(), "");
    assert!(user.run("logs -a web -n -i 0123").failed().contains("0123"));
    assert!(
        user.run("logs -a none -n")
            .failed()
            .contains("Could not find App")
    );
}

#[test]
fn following_continues_after_the_cursor_and_a_closed_pipe_ends_it_quietly() {
    let server = cloud();
    server
        .says(
            "GET /api/v1/apps/web/logs?next_token=7",
            503,
            json!({ "error": "restarting" }),
        )
        .says(
            "GET /api/v1/apps/web/logs?next_token=7",
            200,
            page(&["three"], "8"),
        )
        .says(
            "GET /api/v1/apps/web/logs?next_token=8",
            200,
            page(&["more"], "8"),
        );
    let user = User::of(&server);
    let mut child = user.command(["logs", "-a", "web"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut messages = Vec::new();
    for line in lines.by_ref().take(4) {
        messages.push(line.unwrap().rsplit("] ").next().unwrap().to_owned());
    }
    assert_eq!(
        messages,
        ["one", r#"{"level":"error","msg":"two"}"#, "three", "more"]
    );
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn event(seq: u64) -> Value {
    json!({ "seq": seq, "at": "2026-11-21T08:00:00Z", "actor": "user:1", "kind": "machine.created", "app": "web",
        "machine_id": ID, "cause": "api", "before": null, "after": {} })
}

#[test]
fn events_are_read_page_by_page() {
    let server = Server::start();
    server
        .says(
            "GET /v1/events?after=0&limit=500",
            200,
            json!({ "events": [event(1), event(2)], "next": 2 }),
        )
        .says(
            "GET /v1/events?after=2",
            200,
            json!({ "events": [event(3)], "next": 3 }),
        )
        .says(
            "GET /v1/events?after=3",
            200,
            json!({ "events": [], "next": 3 }),
        )
        .says(
            "GET /v1/events?after=0&limit=1",
            200,
            json!({ "events": [event(1)], "next": 1 }),
        )
        .says(
            "GET /v1/events?last=100",
            200,
            json!({ "events": [event(2), event(3)], "next": 3 }),
        );
    let user = User::of(&server);
    let table = user.run("events --after 0");
    assert_eq!(
        table
            .ok()
            .lines()
            .filter(|line| line.contains("machine.created"))
            .count(),
        3
    );
    let json = user.run("events --after 0 --json");
    assert_eq!(json.ok().lines().count(), 3);
    let one = user.run("events --after 0 --limit 1 -j");
    assert_eq!(one.ok().lines().count(), 1);
    // Without a word about where: the last ones, and an end.
    assert_eq!(user.run("events -j").ok().lines().count(), 2);
    let wrong = user.run("events --limit 0");
    assert!(wrong.stderr.contains("1..=1000"), "{wrong:?}");
}

#[test]
fn events_are_followed_as_a_stream() {
    let server = Server::start();
    let stream = format!(
        "id: 1\nevent: machine.created\ndata: {}\n\nid: 2\ndata: {}\n\n",
        event(1),
        event(2)
    );
    let page = json!({ "events": [], "next": 7 });
    server
        .says("GET /v1/events?last=100&app=web", 200, page)
        .says("GET /v1/events?after=7&app=web", 200, stream);
    let ran = User::of(&server).run("events --app web --json --follow");
    let seqs: Vec<Value> = ran
        .ok()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone())
        .collect();
    assert_eq!(seqs, [1, 2]);
}
