//! Machines that come and go leave nothing of their network behind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mayfly_conformance::Stage;
use mayfly_testing::{wait_for, wait_until};
use serde_json::json;

/// Seconds of the soak; `MAYFLY_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 6;
const AT_ONCE: usize = 4;
/// Descriptors a daemon may have more of than before: connections of clients and files of logs come and go.
const DESCRIPTORS_SLACK: usize = 12;

/// What the kernel holds of a cloud's network, as its own tools tell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    links: String,
    addresses: String,
    routes: String,
    rules: String,
    table: String,
    namespaces: usize,
    machines: usize,
}

impl Held {
    fn of(stage: &Stage, tag: &str) -> Self {
        let ours = |command: &str| {
            let text = shell(command);
            let lines = text
                .lines()
                .filter(|line| line.contains(&format!("mf{tag}")));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let entries = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
        Self {
            links: ours("ip -o link"),
            addresses: ours("ip -o addr"),
            routes: ours("ip route show table all; ip -6 route show table all"),
            rules: ours("ip rule; ip -6 rule"),
            table: shell(&format!("nft list table inet mayfly_{tag}")),
            namespaces: entries(&Path::new("/run/mayfly").join(tag)),
            machines: entries(&stage.cloud.data_dir().join("machines")),
        }
    }
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn machines_come_and_go_and_leave_nothing() {
    let stage = Stage::set();
    let tag = &stage.tag();
    // Every machine has elements in the sets of policies, too.
    let policy = json!({
        "name": "all",
        "selector": {"all": true},
        "rules": [
            {"action": "allow", "direction": "egress"},
            {"action": "allow", "direction": "ingress", "ports": [{"protocol": "tcp", "port": 80}]},
        ],
    });
    stage
        .cloud
        .post("/v1/apps/stage/network_policies", policy)
        .expect(201);
    let descriptors = || {
        let path = format!("/proc/{}/fd", stage.cloud.daemon_pid());
        std::fs::read_dir(path).map_or(0, Iterator::count)
    };
    let before = Held::of(&stage, tag);
    let descriptors_before = descriptors();
    let seconds = std::env::var("MAYFLY_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut machines = 0;
    while machines == 0 || Instant::now() < end {
        let ids: Vec<String> = (0..AT_ONCE)
            .map(|_| {
                let machine = stage.create(Stage::sleeper());
                machine["id"].as_str().unwrap().to_owned()
            })
            .collect();
        for id in &ids {
            stage.wait(id, "started");
        }
        let held = Held::of(&stage, tag);
        // The gateway may have one, if its port was free.
        let others = before.links.lines().count();
        assert_eq!(held.links.lines().count(), others + AT_ONCE, "{held:?}");
        assert_ne!(held.table, before.table);
        // Some are stopped first, some are taken away as they run, some have had programs started in them.
        stage.act(&ids[0], "stop", json!({}));
        stage.exec(&ids[1], "true");
        for id in &ids {
            stage.destroy(id);
        }
        machines += ids.len();
    }
    println!("{machines} machines came and went");
    wait_until("nothing of them is left", || {
        Held::of(&stage, tag) == before
    });
    let now = wait_for("descriptors are given back", || {
        let now = descriptors();
        (now <= descriptors_before + DESCRIPTORS_SLACK).then_some(now)
    });
    println!("descriptors of the daemon: {descriptors_before} before, {now} after");
}
