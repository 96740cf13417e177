//! What happens to machines over time: restarts, schedules, stand-ins, ends.

use std::time::{Duration, Instant};

use mayfly_conformance::{Stage, is_alive};
use mayfly_testing::{wait_for, wait_until};
use serde_json::{Value, json};

fn with(config: Value, key: &str, value: Value) -> Value {
    let mut config = config;
    config[key] = value;
    config
}

#[test]
fn restart_policies_decide_what_follows_an_exit() {
    let stage = Stage::set();
    let policy = |script: &str, restart: Value| with(Stage::script(script), "restart", restart);

    let never = stage.run_to_end(policy("exit 1", json!({"policy": "no"})));
    assert_eq!(stage.exits(&never), 1);
    assert_eq!(stage.last_exit(&never)["exit_code"], 1);

    let well = stage.run_to_end(policy("exit 0", json!({"policy": "on-failure"})));
    assert_eq!(stage.exits(&well), 1);
    assert_eq!(stage.last_exit(&well)["exit_code"], 0);

    let ill = stage.create(policy(
        "exit 7",
        json!({"policy": "on-failure", "max_retries": 2}),
    ));
    let ill = ill["id"].as_str().unwrap();
    wait_until("two restarts, then the end", || stage.exits(ill) == 3);
    wait_until("it is given up", || stage.state(ill) == "stopped");
    let exits = stage.events(ill, "exit");
    assert_eq!(exits[0]["request"]["exit_event"]["restarting"], false);
    assert_eq!(exits[2]["request"]["exit_event"]["restarting"], true);

    let always = stage.create(policy("sleep 0.1", json!({"policy": "always"})));
    let always = always["id"].as_str().unwrap();
    wait_until("it comes back after a good end", || {
        stage.exits(always) >= 2
    });
    stage.act(always, "stop", json!({}));
    stage.wait(always, "stopped");
    assert_eq!(stage.state(always), "stopped");
}

#[test]
fn a_stop_is_not_answered_by_a_restart_and_says_so() {
    let stage = Stage::set();
    let id = stage.start(with(
        Stage::sleeper(),
        "restart",
        json!({"policy": "always"}),
    ));
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    let exit = stage.last_exit(&id);
    assert_eq!(exit["requested_stop"], true, "{exit}");
    assert_eq!(exit["restarting"], false, "{exit}");
}

#[test]
fn a_deaf_program_is_killed_after_its_patience() {
    let stage = Stage::set();
    let deaf = with(
        Stage::script("trap '' INT TERM; echo deaf; while true; do sleep 1; done"),
        "stop_config",
        json!({"signal": "SIGTERM", "timeout": "1s"}),
    );
    let id = stage.start(deaf);
    stage.line_with(&id, "deaf");
    let began = Instant::now();
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(stage.last_exit(&id)["guest_signal"], 9);
}

#[test]
fn the_stop_signal_reaches_the_program() {
    let stage = Stage::set();
    let script = "trap 'echo asked; exit 5' USR2; echo ready; while true; do sleep 0.1; done";
    let polite = with(
        Stage::script(script),
        "stop_config",
        json!({"signal": "SIGUSR2", "timeout": "20s"}),
    );
    let id = stage.start(polite);
    stage.line_with(&id, "ready");
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    stage.line_with(&id, "asked");
    assert_eq!(stage.last_exit(&id)["guest_exit_code"], 5);
}

#[test]
fn auto_destroy_removes_a_machine_that_has_ended() {
    let stage = Stage::set();
    let id = stage.create(with(Stage::script("exit 4"), "auto_destroy", json!(true)));
    let id = id["id"].as_str().unwrap();
    stage.wait(id, "destroyed");
    assert_eq!(stage.last_exit(id)["exit_code"], 4);
    assert_eq!(stage.cloud.get(&stage.path("")).expect(200), json!([]));
}

#[test]
fn a_schedule_starts_a_machine_and_keeps_its_history() {
    let stage = Stage::set();
    let id = stage.create(with(
        Stage::script("echo ran"),
        "schedule",
        json!("* * * * *"),
    ));
    let id = id["id"].as_str().unwrap();
    let path = stage.path(&format!("/{id}/schedule"));
    let plan = stage.cloud.get(&path).expect(200);
    assert_eq!(plan["schedule"], "* * * * *");
    let next = plan["next_at"].as_str().expect("a next time").to_owned();
    assert!(next.contains(":00"), "to the minute: {next}");
    // A minute at most until the clock says so; the waiting helper is as patient as that, hence two of them.
    let ran = || {
        let runs = stage.cloud.get(&path).expect(200)["runs"].clone();
        runs.as_array()
            .into_iter()
            .flatten()
            .any(|run| run["outcome"] == "exited" && run["exit_code"] == 0)
            .then_some(())
    };
    let began = Instant::now();
    while ran().is_none() && began.elapsed() < Duration::from_secs(60) {
        stage
            .cloud
            .get(&stage.path(&format!("/{id}/wait?state=started&timeout=5")));
    }
    wait_for("a run in the history", ran);
}

#[test]
fn a_stand_in_starts_when_its_machine_fails() {
    let stage = Stage::set();
    let primary = stage.start(with(
        Stage::script("while [ ! -e /tmp/fail ]; do sleep 0.1; done; exit 1"),
        "restart",
        json!({"policy": "no"}),
    ));
    let standby = stage.create(with(Stage::sleeper(), "standbys", json!([primary])));
    let standby = standby["id"].as_str().unwrap();
    stage.wait(standby, "stopped");
    stage.shell(&primary, "touch /tmp/fail");
    stage.wait(standby, "started");
}

#[test]
fn suspending_keeps_memory_files_and_process() {
    let stage = Stage::set();
    let mark = "count-in-memory-1";
    let id = stage.start(Stage::script(&format!(
        ": {mark}; n=0; while true; do n=$((n+1)); echo $n >/tmp/n; sleep 0.05; done"
    )));
    let count = || stage.shell(&id, "cat /tmp/n").parse::<u64>().unwrap_or(0);
    wait_until("it counts", || count() > 3);
    let pid = stage.host_pid(mark);
    let before = count();
    stage.act(&id, "suspend", json!({}));
    stage.wait(&id, "suspended");
    assert!(is_alive(pid));
    stage.act(&id, "start", json!({}));
    stage.wait(&id, "started");
    wait_until("it counts on", || count() > before);
    assert_eq!(stage.host_pid(mark), pid);
    assert_eq!(stage.exits(&id), 0);
}

#[test]
fn a_stopped_machine_starts_clean_unless_its_root_persists() {
    let stage = Stage::set();
    let restarted = |config: Value| {
        let id = stage.start(config);
        stage.shell(&id, "echo kept >/tmp/mine");
        stage.act(&id, "stop", json!({}));
        stage.wait(&id, "stopped");
        stage.act(&id, "start", json!({}));
        stage.wait(&id, "started");
        stage.exec(&id, "cat /tmp/mine").stdout
    };
    assert_eq!(restarted(Stage::sleeper()), "");
    let persistent = with(Stage::sleeper(), "rootfs", json!({"persist": "always"}));
    assert_eq!(restarted(persistent), "kept\n");
}
