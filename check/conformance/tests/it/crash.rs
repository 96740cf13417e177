//! `kill -9` of the daemon, and the loss of everything that ran.

use std::fs;

use mayfly_conformance::{Stage, is_alive};
use mayfly_testing::{Leftovers, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
fn machines_keep_their_process_and_every_line() {
    let mut stage = Stage::set();
    let mark = "line-writer-1";
    let id = stage.start(Stage::script(&format!(
        ": {mark}; n=0; while true; do n=$((n+1)); echo line-$n; sleep 0.05; done"
    )));
    stage.line_with(&id, "line-20");
    let pid = stage.host_pid(mark);
    for _ in 0..3 {
        stage.cloud.kill_daemon();
        assert!(is_alive(pid));
        stage.cloud.start_daemon();
        assert_eq!(stage.host_pid(mark), pid);
        assert_eq!(stage.state(&id), "started");
        assert_eq!(stage.shell(&id, "echo reachable"), "reachable");
    }
    let seen = stage.log_lines(&id).len();
    wait_until("it writes on", || stage.log_lines(&id).len() > seen + 20);
    stage.act(&id, "stop", json!({"timeout": "1s"}));
    stage.wait(&id, "stopped");
    let numbers: Vec<u64> = stage
        .log_lines(&id)
        .iter()
        .filter_map(|line| line.strip_prefix("line-")?.parse().ok())
        .collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(
        numbers, expected,
        "a line is missing, doubled or out of order"
    );
}

#[test]
fn exits_without_a_daemon_are_recorded_and_acted_upon() {
    let mut stage = Stage::set();
    // Each ends when it is told to from outside, with nobody but its monitor there to see it.
    let ends = |policy: Value, code: u8, mark: &str| {
        let mut config = Stage::script(&format!(
            ": {mark}; trap 'echo last-words; exit {code}' USR1; echo started; while true; do sleep 0.05; done"
        ));
        config["restart"] = policy;
        config
    };
    let done = stage.start(ends(json!({"policy": "no"}), 23, "end-unseen-1"));
    let back = stage.start(ends(json!({"policy": "always"}), 0, "end-unseen-2"));
    let mut gone = ends(json!({"policy": "no"}), 9, "end-unseen-3");
    gone["auto_destroy"] = json!(true);
    let gone = stage.start(gone);
    for id in [&done, &back, &gone] {
        stage.line_with(id, "started");
    }
    let programs =
        ["end-unseen-1", "end-unseen-2", "end-unseen-3"].map(|mark| stage.host_pid(mark));
    stage.cloud.kill_daemon();
    for pid in programs {
        let program = Pid::from_raw(pid).expect("found in /proc");
        kill_process(program, Signal::USR1).expect("it runs");
        wait_until("the program has ended", || !is_alive(pid));
    }
    stage.cloud.start_daemon();
    stage.wait(&done, "stopped");
    assert_eq!(stage.last_exit(&done)["exit_code"], 23);
    assert_eq!(stage.line_with(&done, "last"), "last-words");
    stage.wait(&gone, "destroyed");
    assert_eq!(stage.last_exit(&gone)["exit_code"], 9);
    wait_until("the other runs again", || {
        stage.exits(&back) == 1 && stage.state(&back) == "started"
    });
}

#[test]
fn a_stop_goes_on_after_a_crash() {
    let mut stage = Stage::set();
    let mut deaf = Stage::script("trap '' INT TERM; echo deaf; while true; do sleep 1; done");
    deaf["stop_config"] = json!({"signal": "SIGTERM", "timeout": "3s"});
    let id = stage.start(deaf);
    stage.line_with(&id, "deaf");
    stage.act(&id, "stop", json!({}));
    stage.cloud.crash_and_restart();
    stage.wait(&id, "stopped");
    assert_eq!(stage.last_exit(&id)["guest_signal"], 9);
    assert_eq!(stage.last_exit(&id)["requested_stop"], true);
}

#[test]
fn suspended_machines_and_leases_survive_a_crash() {
    let mut stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    stage.shell(&id, "echo here >/tmp/mine");
    let nonce = stage.act(&id, "lease", json!({"ttl": 600}))["data"]["nonce"].clone();
    stage.cloud.crash_and_restart();
    assert_eq!(stage.try_act(&id, "suspend", json!({})).status, 409);
    let nonce = nonce.as_str().unwrap();
    let suspended = stage.cloud.try_call_with(
        mayfly_testing::Method::Post,
        &stage.path(&format!("/{id}/suspend")),
        &[("fly-machine-lease-nonce", nonce)],
        &json!({}),
    );
    suspended.unwrap().ok();
    stage.wait(&id, "suspended");
    stage.cloud.crash_and_restart();
    assert_eq!(stage.state(&id), "suspended");
    let path = stage.path(&format!("/{id}/lease"));
    stage
        .cloud
        .try_call_with(
            mayfly_testing::Method::Delete,
            &path,
            &[("fly-machine-lease-nonce", nonce)],
            &Value::Null,
        )
        .unwrap()
        .ok();
    stage.act(&id, "start", json!({}));
    stage.wait(&id, "started");
    assert_eq!(stage.shell(&id, "cat /tmp/mine"), "here");
}

#[test]
fn after_a_reboot_runs_what_should_run() {
    let mut stage = Stage::set();
    let volume = json!({"name": "data", "size_gb": 1, "region": "iad"});
    let volume = stage.cloud.post("/v1/apps/stage/volumes", volume);
    let mut keeper = Stage::sleeper();
    keeper["mounts"] = json!([{"volume": volume.expect(200)["id"], "path": "/data"}]);
    let running = stage.start(keeper);
    stage.shell(&running, "echo kept >/data/file && sync");
    let disks = Leftovers::find(&stage.cloud.data_dir(), &[]).disks;
    assert_eq!(disks.len(), 1, "the volume is in use: {disks:?}");
    let mut once = Stage::sleeper();
    once["restart"] = json!({"policy": "no"});
    let once = stage.start(once);
    let stopped = stage.start(Stage::sleeper());
    stage.act(&stopped, "stop", json!({}));
    stage.wait(&stopped, "stopped");
    let suspended = stage.start(Stage::sleeper());
    stage.act(&suspended, "suspend", json!({}));
    stage.wait(&suspended, "suspended");

    lose_everything(&mut stage);
    stage.cloud.start_daemon();

    // What was started before shows as started until the host has looked.
    wait_until("what ran runs again", || {
        let command = json!({"command": ["/bin/echo", "well"], "timeout": 10});
        let path = stage.path(&format!("/{running}/exec"));
        stage.cloud.post(&path, command).status == 200
    });
    assert_eq!(stage.shell(&running, "cat /data/file"), "kept");
    assert_eq!(stage.state(&stopped), "stopped");
    wait_until("the others come to rest", || {
        [&once, &suspended]
            .iter()
            .all(|id| matches!(stage.state(id).as_str(), "started" | "stopped"))
    });
    for id in [&stopped, &suspended, &once] {
        stage.act(id, "start", json!({}));
        stage.wait(id, "started");
        assert_eq!(stage.shell(id, "echo well"), "well");
    }
}

/// What a power cut leaves: files only. Monitors die first, so that nobody can note how the rest ended.
fn lose_everything(stage: &mut Stage) {
    stage.cloud.kill_daemon();
    let machines = stage.cloud.machine_ids();
    let data_dir = stage.cloud.data_dir();
    for pid in Leftovers::find(&data_dir, &machines).processes {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains("monitor") {
            let pid = Pid::from_raw(pid).expect("found in /proc");
            kill_process(pid, Signal::KILL).ok();
        }
    }
    wait_until("nothing runs any more", || {
        let left = Leftovers::find(&data_dir, &machines);
        left.sweep();
        left.is_empty()
    });
}
