//! Deployments: a release is recorded once and carried out by the cloud, whatever happens to whoever asked.

mod faults;
mod machine_checks;
mod moving;
mod placement;
mod steady;
mod switch;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mayfly_conformance::Stage;
use mayfly_testing::{CliAnswer, CliRunner, wait_until};
use serde_json::Value;

/// A stage whose command line stands in a directory with this fly.toml.
struct Shop {
    stage: Stage,
    cli: CliRunner,
}

const CHECKED: &str = r#"
[http_service]
internal_port = 8080

[[http_service.checks]]
path = "/"
interval = "1s"
timeout = "1s"
"#;

impl Shop {
    fn open() -> Shop {
        let stage = Stage::set();
        let cli = stage.cloud.cli();
        Shop { stage, cli }
    }

    fn write(&self, text: &str) {
        let text = format!("app = \"stage\"\nprimary_region = \"iad\"\n{text}");
        fs::write(self.cli.home().join("fly.toml"), text).unwrap();
    }

    fn deploy(&self, more: &[&str]) -> CliAnswer {
        let mut line = vec!["deploy", "--image", "hello:latest", "--smoke-checks=false"];
        line.extend(more);
        self.cli.run(line)
    }

    /// The machines of a group, as the API shows them.
    fn machines(&self, group: &str) -> Vec<Value> {
        let all = self.stage.cloud.get(&self.stage.path("")).expect(200);
        let all = all.as_array().unwrap().iter();
        all.filter(|machine| machine["config"]["metadata"]["fly_process_group"] == group)
            .cloned()
            .collect()
    }

    fn env(&self, id: &str, name: &str) -> String {
        self.stage.shell(id, &format!("echo \"${name}\""))
    }

    fn newest(&self) -> Value {
        let list = self.cli.run(["releases", "--image", "--json"]).json();
        list[0].clone()
    }

    /// Visits the app without a pause while `work` goes on; returns how many visits there were.
    fn visited_during(&self, work: impl FnOnce()) -> usize {
        let (over, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let answer = self.stage.cloud.visit("stage", "/").unwrap();
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, Ordering::Relaxed);
            if let Err(cause) = worked {
                std::panic::resume_unwind(cause);
            }
        });
        visits.into_inner()
    }
}

/// How many rounds a test goes: `usual`, unless `MAYFLY_DEPLOY_ROUNDS` says otherwise.
pub(crate) fn rounds(usual: usize) -> usize {
    let asked = std::env::var("MAYFLY_DEPLOY_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn id(machine: &Value) -> &str {
    machine["id"].as_str().unwrap()
}

#[test]
fn an_app_is_deployed_changed_broken_and_rolled_back_under_load() {
    let shop = Shop::open();
    shop.write(&format!("[env]\nCOLOUR = \"red\"\n{CHECKED}"));
    let first = shop.deploy(&[]);
    assert!(
        first.ok().contains("v1 of stage is live"),
        "{}",
        first.stdout
    );
    let machines = shop.machines("app");
    assert_eq!(machines.len(), 2);
    assert!(
        machines
            .iter()
            .all(|machine| shop.env(id(machine), "COLOUR") == "red")
    );

    for (strategy, colour, same) in [("rolling", "green", true), ("bluegreen", "blue", false)] {
        shop.write(&format!("[env]\nCOLOUR = \"{colour}\"\n{CHECKED}"));
        let before: Vec<Value> = shop.machines("app");
        let visits = shop.visited_during(|| {
            shop.deploy(&["--strategy", strategy]).ok();
        });
        assert!(visits > 20, "{visits}");
        let after = shop.machines("app");
        assert_eq!(after.len(), 2, "{strategy}");
        assert_eq!(
            after.iter().map(id).eq(before.iter().map(id)),
            same,
            "{strategy}"
        );
        assert!(
            after
                .iter()
                .all(|machine| shop.env(id(machine), "COLOUR") == colour)
        );
    }

    // A release that never comes up touches one machine and leaves the app serving.
    shop.write(&format!(
        "{CHECKED}[experimental]\nexec = [\"/bin/sh\", \"-c\", \"echo no; exit 3\"]\n"
    ));
    let visits = shop.visited_during(|| {
        let broken = shop.deploy(&["--wait-timeout", "60"]);
        assert!(broken.refused().contains("exit"), "{}", broken.stderr);
    });
    assert!(visits > 0);
    assert_eq!(shop.newest()["status"], "failed");
    let blue = |machine: &Value| {
        machine["state"] == "started" && shop.env(id(machine), "COLOUR") == "blue"
    };
    assert_eq!(
        shop.machines("app")
            .iter()
            .filter(|machine| blue(machine))
            .count(),
        1
    );

    shop.cli.run(["releases", "rollback", "--yes"]).ok();
    let newest = shop.newest();
    assert_eq!(
        (&newest["status"], &newest["version"]),
        (&"complete".into(), &5.into())
    );
    assert_eq!(newest["description"], "Rollback to v3");
    assert!(shop.machines("app").iter().all(blue));
    let diff = shop.cli.run(["releases", "diff", "1", "3"]);
    assert!(
        diff.ok().contains("- config.env.COLOUR = \"red\""),
        "{}",
        diff.stdout
    );
}

#[test]
fn groups_get_their_machines_and_a_release_command_decides() {
    let shop = Shop::open();
    // The image's entrypoint serves, whatever it is given: this one runs what it is given.
    let any = "[experimental]\nentrypoint = [\"/bin/env\"]\n";
    let web = "[http_service]\ninternal_port = 8080\nprocesses = [\"web\"]\n";
    let processes =
        format!("[processes]\nweb = \"/bin/start\"\nworker = \"/bin/sleep inf\"\n{web}{any}");
    shop.write(&format!(
        "{processes}[deploy]\nrelease_command = \"/bin/false\"\n"
    ));
    let refused = shop.deploy(&["-e", "A=1"]);
    assert!(
        refused
            .refused()
            .contains("release command exited with code 1"),
        "{}",
        refused.stderr
    );
    assert!(shop.machines("web").is_empty());

    shop.write(&format!(
        "{processes}[deploy]\nrelease_command = \"/bin/sh -c 'echo migrated $RELEASE_COMMAND'\"\n"
    ));
    shop.deploy(&[]).ok();
    let states = |group: &str| {
        let mut states: Vec<String> = shop
            .machines(group)
            .iter()
            .map(|machine| machine["state"].as_str().unwrap().to_owned())
            .collect();
        states.sort();
        states
    };
    assert_eq!(states("web"), ["started", "started"]);
    // A worker and its standby, which is there and does not run.
    let workers = states("worker");
    assert_eq!(workers.len(), 2);
    let started = workers.iter().filter(|state| *state == "started");
    assert_eq!(started.count(), 1, "{workers:?}");

    // A group that is gone takes its machines along; a canary is tried and leaves nothing behind.
    shop.write(&format!("[processes]\nweb = \"/bin/start\"\n{web}{any}"));
    shop.deploy(&["--strategy", "canary"]).ok();
    wait_until("the workers are gone", || {
        shop.machines("worker").is_empty()
    });
    assert_eq!(states("web"), ["started", "started"]);
}

#[test]
fn a_release_survives_its_client_and_the_daemon() {
    let mut shop = Shop::open();
    shop.write(&format!("[env]\nROUND = \"1\"\n{CHECKED}"));
    shop.deploy(&["--ha=false"]).ok();
    for round in 2..5 {
        shop.write(&format!("[env]\nROUND = \"{round}\"\n{CHECKED}"));
        let recorded = shop.deploy(&["--detach"]);
        assert_eq!(recorded.ok().trim(), format!("v{round}"));
        shop.stage.cloud.crash_and_restart();
        wait_until("the release is at its end", || {
            shop.newest()["finished_at"].is_string()
        });
        assert_eq!(shop.newest()["status"], "complete", "{}", shop.newest());
        let machines = shop.machines("app");
        assert_eq!(machines.len(), 1);
        assert_eq!(shop.env(id(&machines[0]), "ROUND"), round.to_string());
    }
    // What was asked for last contains what was asked for before: of three at once the middle one is superseded.
    for round in 5..8 {
        shop.write(&format!("[env]\nROUND = \"{round}\"\n{CHECKED}"));
        shop.deploy(&["--detach"]).ok();
    }
    let unknown = shop.cli.run(["deploy", "attach", "99"]);
    assert!(!unknown.refused().contains("Deploying"), "{unknown:?}");
    let attached = shop.cli.run(["deploy", "attach"]);
    assert!(
        attached.ok().contains("v7 of stage is live"),
        "{}",
        attached.stdout
    );
    let list = shop.cli.run(["releases", "--json"]).json();
    let statuses: Vec<&str> = (0..3)
        .map(|index| list[index]["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses[0], "complete");
    assert!(
        statuses[1] == "superseded" || statuses[1] == "complete",
        "{statuses:?}"
    );
    assert_eq!(shop.env(id(&shop.machines("app")[0]), "ROUND"), "7");
}

#[test]
fn secrets_reach_machines_and_nothing_else() {
    const CANARY: &str = "canary-5e9f1c";
    let shop = Shop::open();
    shop.write("[http_service]\ninternal_port = 8080\n[[files]]\nguest_path = \"/tmp/key\"\nsecret_name = \"KEY\"\n");
    let set = shop.cli.run_with_input(
        ["secrets", "set", "A=-", "KEY=Y2FuYXJ5"],
        &format!("{CANARY}\n"),
    );
    assert!(set.ok().contains("staged"), "{}", set.stdout);
    shop.deploy(&["--ha=false"]).ok();
    let machine = id(&shop.machines("app")[0]).to_owned();
    assert_eq!(shop.env(&machine, "A"), CANARY);
    assert_eq!(shop.stage.shell(&machine, "cat /tmp/key"), "canary");

    let later = format!("{CANARY}-later");
    shop.cli.run(["secrets", "set", "A=staged", "--stage"]).ok();
    assert_eq!(shop.env(&machine, "A"), CANARY);
    let statuses = |name: &str| {
        let list = shop.cli.run(["secrets", "list", "--json"]).json();
        let row = list
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == name);
        row.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (statuses("A"), statuses("KEY")),
        ("Staged".to_owned(), "Deployed".to_owned())
    );
    shop.cli
        .run_with_input(
            ["secrets", "import"],
            &format!("# new\nA=\"{later}\"\nB=2\n"),
        )
        .ok();
    assert_eq!(
        (shop.env(&machine, "A"), shop.env(&machine, "B")),
        (later, "2".to_owned())
    );
    let unknown = shop.cli.run(["secrets", "unset", "NONE"]);
    assert!(
        unknown.refused().contains("A, B, KEY"),
        "{}",
        unknown.stderr
    );
    shop.cli.run(["secrets", "unset", "B"]).ok();
    assert_eq!(shop.env(&machine, "B"), "");

    // Going back brings the secrets of then.
    shop.cli.run(["releases", "rollback", "1", "--yes"]).ok();
    assert_eq!(shop.env(&machine, "A"), CANARY);

    let shown = [
        shop.cli.run(["secrets", "list"]).stdout,
        shop.cli.run(["events", "--after", "0", "--json"]).stdout,
        shop.cli
            .run(["machine", "status", &machine, "--display-config"])
            .stdout,
        shop.cli.run(["releases", "show", "1"]).stdout,
        shop.cli.run(["releases", "diff", "1", "2"]).stdout,
        shop.cli.run(["audit", "--all", "--json"]).stdout,
        shop.cli.run(["config", "env"]).stdout,
        shop.cli.run(["config", "show"]).stdout,
        shop.cli.run(["status", "--json"]).stdout,
        shop.cli.run(["logs", "--no-tail"]).stdout,
        shop.stage.cloud.daemon_log(),
    ];
    for text in &shown {
        assert!(!text.is_empty() && !text.contains("canary-"), "{text}");
    }
    let found = files_with(&shop.stage.cloud.data_dir(), CANARY.as_bytes());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn secrets_reach_machines_that_no_deployment_made() {
    let shop = Shop::open();
    let machine = shop.stage.start(Stage::sleeper());
    let secrets = |more: &[&str]| {
        let mut line = vec!["secrets"];
        line.extend(more);
        line.extend(["-a", "stage"]);
        shop.cli.run(line).ok().to_owned()
    };
    secrets(&["set", "A=1"]);
    assert_eq!(shop.env(&machine, "A"), "1");
    let metadata = &shop.stage.get(&machine)["config"]["metadata"];
    assert_eq!(metadata["fly_platform_version"], Value::Null, "{metadata}");

    secrets(&["set", "A=2", "--stage"]);
    assert!(secrets(&["list"]).contains("* A"));
    let staged = secrets(&["sync", "--stage"]);
    assert!(staged.contains("1 machine has older secrets"), "{staged}");
    assert_eq!(shop.env(&machine, "A"), "1");
    // What is there and was not given out yet is no "nothing changed".
    secrets(&["set", "A=2"]);
    assert_eq!(shop.env(&machine, "A"), "2");
    secrets(&["unset", "A", "--stage"]);
    secrets(&["sync"]);
    assert_eq!(shop.env(&machine, "A"), "");
    let newest = secrets(&["sync"]);
    assert!(newest.contains("have the newest"), "{newest}");
}

/// Files below a directory that hold these bytes.
fn files_with(directory: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file()
            && let Ok(content) = fs::read(&path)
            && content.windows(needle.len()).any(|window| window == needle)
        {
            found.push(path.display().to_string());
        }
    }
    found
}
