//! The same walk by the command line, as a user types it.

use mayfly_conformance::{Stage, hello_archive};
use mayfly_testing::{CliRunner, wait_until};
use serde_json::Value;

fn machine(cli: &CliRunner, id: &str) -> Value {
    let listed = cli
        .run(["machine", "list", "--app", "walk", "--json"])
        .json();
    let machines = listed.as_array().expect("a list");
    machines
        .iter()
        .find(|machine| machine["id"] == id)
        .cloned()
        .unwrap_or(Value::Null)
}

fn wait_state(cli: &CliRunner, id: &str, state: &str) {
    wait_until(&format!("the command line lists {id} as {state}"), || {
        machine(cli, id)["state"] == state
    });
}

#[test]
fn an_app_and_its_machines_by_command_line() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let run = |line: &str| cli.run(line.split(' '));

    let archive = hello_archive().to_str().expect("a plain path");
    cli.run(["image", "import", archive, "--name", "walker:1"])
        .ok();
    assert!(run("image list").ok().contains("walker"));
    run("apps create walk --org personal").ok();
    assert!(run("apps list").ok().contains("walk"));
    let apps = run("apps list --json").json();
    assert!(
        apps.as_array()
            .unwrap()
            .iter()
            .any(|app| app["Name"] == "walk"),
        "{apps}"
    );

    // Run, list, status.
    run("machine run walker:1 /bin/sleep inf --app walk --name one --env A=b --metadata role=cli")
        .ok();
    let listed = run("machine list --app walk --json").json();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    wait_state(&cli, &id, "started");
    assert_eq!(run("machine list --app walk --quiet").ok().trim(), id);
    let table = run("machine list --app walk");
    assert!(
        table.ok().contains("one") && table.stdout.contains("started"),
        "{}",
        table.stdout
    );
    let status = cli.run([
        "machine",
        "status",
        &id,
        "--app",
        "walk",
        "--display-config",
    ]);
    assert!(status.ok().contains("\"A\": \"b\""), "{}", status.stdout);
    assert!(run("status --app walk").ok().contains(&id));

    // Exec, update, clone.
    let on = |command: &[&str]| {
        let mut arguments = vec!["machine", command[0], "--app", "walk", id.as_str()];
        arguments.extend(&command[1..]);
        cli.run(arguments)
    };
    assert_eq!(on(&["exec", "echo hi"]).ok(), "hi\n");
    let failed = on(&["exec", "sh -c 'exit 3'"]);
    assert!(failed.code.is_some_and(|code| code != 0), "{failed:?}");
    on(&["update", "--env", "A=c", "--yes"]).ok();
    wait_state(&cli, &id, "started");
    assert_eq!(machine(&cli, &id)["config"]["env"]["A"], "c");
    on(&["clone", "--name", "two"]).ok();
    wait_until("there are two", || {
        run("machine list --app walk --quiet").ok().lines().count() == 2
    });

    // Stop, start, suspend, by id and by name.
    on(&["stop"]).ok();
    wait_state(&cli, &id, "stopped");
    run("machine start one --app walk").ok();
    wait_state(&cli, &id, "started");
    on(&["suspend"]).ok();
    wait_state(&cli, &id, "suspended");
    on(&["start"]).ok();
    wait_state(&cli, &id, "started");
    on(&["restart"]).ok();
    wait_state(&cli, &id, "started");
    on(&["cordon"]).ok();
    assert_eq!(machine(&cli, &id)["cordoned"], true);
    on(&["uncordon"]).ok();
    run("machine leases view --app walk").ok();

    // Destroy.
    let refused = on(&["destroy"]);
    assert!(!refused.refused().is_empty());
    on(&["destroy", "--force"]).ok();
    wait_until("it is not listed", || machine(&cli, &id).is_null());
    run("apps destroy walk --yes").ok();
    assert!(!run("apps list").ok().contains("walk"));
}

#[test]
fn logs_and_events_are_shown() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let id = stage.run_to_end(Stage::script("echo first; echo second >&2"));
    let logs = cli.run(["logs", "--app", "stage", "--no-tail"]);
    assert!(
        logs.ok().contains("first") && logs.stdout.contains("second"),
        "{}",
        logs.stdout
    );
    let logs = cli.run([
        "logs",
        "--app",
        "stage",
        "--no-tail",
        "--json",
        "--machine",
        &id,
    ]);
    assert!(
        logs.ok()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .any(|line| line["message"] == "first"),
        "{}",
        logs.stdout
    );
    let events = cli.run(["events"]);
    assert!(events.ok().contains(&id), "{}", events.stdout);
}

#[test]
fn what_needs_no_app_answers() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    assert!(
        cli.run(["version"])
            .ok()
            .contains(env!("CARGO_PKG_VERSION"))
    );
    assert!(cli.run(["platform", "regions"]).ok().contains("iad"));
    assert!(
        cli.run(["platform", "vm-sizes"])
            .ok()
            .contains("shared-cpu-1x")
    );
    assert!(cli.run(["orgs", "list"]).ok().contains("personal"));
    assert!(cli.run(["completion", "bash"]).ok().contains("mayfly"));
    cli.run(["auth", "token"]).ok();
}

#[test]
fn errors_name_cause_and_remedy_and_no_prompt_hangs() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let unknown = cli.run(["machine", "status", "0123456789abcd", "--app", "stage"]);
    assert!(
        unknown.refused().contains("0123456789abcd"),
        "{}",
        unknown.stderr
    );
    let no_app = cli.run(["machine", "list"]);
    assert!(no_app.refused().contains("--app"), "{}", no_app.stderr);
    let confirm = cli.run(["apps", "destroy", "stage"]);
    assert!(confirm.refused().contains("--yes"), "{}", confirm.stderr);
    stage.cloud.get("/v1/apps/stage").expect(200);
    let image = cli.run(["machine", "run", "nobody.invalid/none:1", "--app", "stage"]);
    assert!(
        image.refused().contains("nobody.invalid"),
        "{}",
        image.stderr
    );
}
