//! Volumes of a deployed app: what is written stays, one machine has one, and they come and go by documented rules.

use std::fs;
use std::path::Path;

use mayfly_conformance::Stage;
use mayfly_testing::{CliAnswer, CliRunner, wait_until};
use serde_json::{Value, json};

/// It ends as soon as it is told to.
fn app(round: u32) -> String {
    format!(
        "app = \"stage\"
primary_region = \"iad\"
[experimental]
exec = [\"/bin/sh\", \"-c\", \"trap 'exit 0' INT TERM; while true; do sleep 0.1; done\"]
[env]
ROUND = \"{round}\"
[mounts]
source = \"data\"
destination = \"/data\"
"
    )
}

struct Walk {
    stage: Stage,
    cli: CliRunner,
}

impl Walk {
    fn run(&self, words: &str) -> CliAnswer {
        self.cli.run(words.split(' '))
    }

    fn deploy(&self, round: u32) {
        fs::write(self.cli.home().join("fly.toml"), app(round)).unwrap();
        self.run("deploy --image probe:latest --smoke-checks=false")
            .ok();
    }

    fn machines(&self) -> Vec<String> {
        let listed = self.stage.cloud.get(&self.stage.path("")).expect(200);
        let machines = listed.as_array().cloned().unwrap_or_default();
        let ids = machines
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    fn volumes(&self) -> Vec<Value> {
        let listed = self.run("volumes list --json").json();
        listed.as_array().cloned().unwrap_or_default()
    }

    /// Megabytes of the filesystem at the mount.
    fn room(&self, machine: &str) -> u64 {
        let line = self.stage.shell(machine, "df -m /data | tail -n 1");
        let room = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok());
        room.unwrap_or_else(|| panic!("no size in: {line}"))
    }
}

#[test]
fn what_is_written_to_a_volume_stays() {
    let stage = Stage::set();
    stage.import_probe();
    let cli = stage.cloud.cli();
    let mut walk = Walk { stage, cli };
    walk.deploy(1);
    let first = walk.machines()[0].clone();
    let volume = walk.volumes()[0].clone();
    let id = volume["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (
            &volume["name"],
            &volume["size_gb"],
            &volume["attached_machine_id"]
        ),
        (&json!("data"), &json!(1), &json!(first))
    );
    walk.stage
        .shell(&first, "echo precious > /data/file && sync");
    let kept = |walk: &Walk| assert_eq!(walk.stage.shell(&first, "cat /data/file"), "precious");

    walk.deploy(2);
    assert!(
        walk.machines() == [first.as_str()],
        "it is changed in place"
    );
    assert_eq!(walk.stage.shell(&first, "echo $ROUND"), "2");
    kept(&walk);
    walk.stage.cloud.kill_daemon();
    walk.stage.cloud.start_daemon();
    kept(&walk);
    walk.run(&format!("machine stop {first} --wait-timeout 60s"))
        .ok();
    walk.run(&format!("machine start {first}")).ok();
    walk.stage.wait(&first, "started");
    kept(&walk);

    // It is this machine's alone.
    let second = json!({"image": "probe:latest", "mounts": [{"volume": id, "path": "/data"}]});
    let refused = walk
        .stage
        .cloud
        .post(&walk.stage.path(""), json!({"config": second}));
    let refused = refused.expect(409)["error"].to_string();
    assert!(
        refused.contains(&format!("attached to machine {first}")),
        "{refused}"
    );
    walk.run("scale count 2 --yes").ok();
    let machines = walk.machines();
    let second = machines.iter().find(|one| **one != first).unwrap();
    assert_eq!(walk.volumes().len(), 2);
    let empty = walk.stage.exec(second, "test -e /data/file");
    assert_ne!(empty.code, 0, "each has its own");

    let before = walk.room(&first);
    let extended = walk.run(&format!("volumes extend {id} -s +1 -y"));
    assert!(extended.ok().contains("Size GB: 2"), "{extended:?}");
    if extended.stderr.contains("after a restart") {
        walk.run(&format!("machine restart {first}")).ok();
        walk.stage.wait(&first, "started");
    }
    let after = walk.room(&first);
    assert!(after > before + 800, "{before} MB became {after} MB");
    kept(&walk);

    walk.run("scale count 1 --yes").ok();
    assert_eq!(walk.volumes().len(), 2, "what a machine leaves stays");
    let attached = |one: &&Value| !one["attached_machine_id"].is_null();
    let volumes = walk.volumes();
    let free = volumes.iter().find(|one| !attached(one)).unwrap();
    let free = free["id"].as_str().unwrap();
    let used = volumes.iter().find(attached).unwrap();
    let used = used["id"].as_str().unwrap();
    let refused = walk.run(&format!("volumes destroy {used} --yes"));
    assert!(
        refused.refused().contains("is attached to machine"),
        "{refused:?}"
    );
    walk.run(&format!("volumes destroy {free} --yes")).ok();
    assert_eq!(walk.volumes().len(), 1);
    walk.run(&format!("volumes restore {free}")).ok();
    assert_eq!(walk.volumes().len(), 2);

    let data = walk.stage.cloud.data_dir();
    assert!(is_below(&data, used, 4));
    walk.run("apps destroy stage --yes").ok();
    wait_until("nothing is left of them", || {
        [used, free].iter().all(|id| !is_below(&data, id, 4))
    });
}

/// Whether something of this name is in the directory, so many levels deep at most.
fn is_below(directory: &Path, name: &str, levels: u32) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        entry.file_name() == name || (levels > 1 && is_below(&entry.path(), name, levels - 1))
    })
}
