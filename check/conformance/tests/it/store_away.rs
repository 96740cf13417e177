//! PostgreSQL goes away: what runs goes on, and the API says why it cannot answer.

use mayfly_conformance::{Stage, is_alive};
use mayfly_testing::{CloudOptions, PostgresDoor, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[test]
fn machines_and_the_daemon_do_without_their_store() {
    let door = PostgresDoor::new();
    let mut stage = Stage::set_with(CloudOptions {
        config: Some(format!("[store]\nurl_file = {:?}\n", door.url_file())),
        ..CloudOptions::default()
    });
    let mark = "store-away-witness-1";
    let mut config = Stage::script(&format!(": {mark}; while true; do sleep 1; done"));
    config["restart"] = json!({"policy": "always"});
    let id = stage.start(config);
    let pid = stage.host_pid(mark);

    door.shut();
    let refused = stage.cloud.get(&stage.path(&format!("/{id}")));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("control store is away"),
        "{}",
        refused.text()
    );
    assert!(is_alive(pid));

    // The daemon comes up without it, finds its machine and restarts it when it fails.
    stage.cloud.crash_and_restart();
    let refused = stage.cloud.get(&stage.path(&format!("/{id}")));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(stage.host_pid(mark), pid);
    let main = Pid::from_raw(pid).expect("a process has a number");
    kill_process(main, Signal::KILL).expect("it runs");
    wait_until("its process is gone", || !is_alive(pid));
    assert_ne!(stage.host_pid(mark), pid, "it was started again");

    // What happened meanwhile is known once it is back.
    door.open();
    wait_until("the API answers", || {
        stage.cloud.get(&stage.path("")).status == 200
    });
    wait_until("the end is on record", || stage.exits(&id) == 1);
    stage.wait(&id, "started");
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");

    // The same for a daemon that had it and lost it.
    door.shut();
    let refused = stage.cloud.get(&stage.path(&format!("/{id}")));
    assert_eq!(refused.status, 503, "{}", refused.text());
    door.open();
    wait_until("the API answers again", || {
        stage.cloud.get(&stage.path("")).status == 200
    });
    stage.act(&id, "start", json!({}));
    stage.wait(&id, "started");
}
