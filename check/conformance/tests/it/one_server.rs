//! The cloud of one server as its operator sees it: up, down, twice, side by side, with wrong settings.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mayfly_conformance::Stage;
use mayfly_testing::{CliRunner, Leftovers, TestCloud, binaries, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server whose cloud is started by `mayfly up`. Dropping it leaves nothing.
struct Server {
    directory: TempDir,
    cli: CliRunner,
}

impl Server {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("mayfly-test-")
            .tempdir()
            .expect("a temporary directory can be made");
        let home = directory.path().join("home");
        fs::create_dir(&home).expect("an empty directory takes another");
        Self {
            directory,
            cli: CliRunner::at_home(home),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn run(&self, command: &str, more: &[&str]) -> mayfly_testing::CliAnswer {
        let data_dir = self.data_dir();
        let data_dir = data_dir.to_str().expect("a plain path");
        let mut arguments = vec![command, "--data-dir", data_dir];
        if command == "up" {
            arguments.extend([
                "--api-listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
                "--https-listen",
                "127.0.0.1:0",
            ]);
        }
        arguments.extend(more);
        self.cli.run(arguments)
    }

    fn status(&self) -> Option<Value> {
        let text = fs::read(self.data_dir().join("mayflyd.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data_dir = self.data_dir();
        let swept = std::panic::catch_unwind(|| Leftovers::sweep_cloud(&data_dir));
        if swept.is_err() {
            eprintln!("{} could not be swept", self.directory.path().display());
        }
    }
}

#[test]
fn up_down_and_up_again() {
    let server = Server::new();
    let up = server.run("up", &[]);
    assert!(up.ok().contains("http://127.0.0.1:"), "{}", up.stdout);
    let pid = server.status().expect("a status file")["pid"].clone();
    // The command line works at once.
    let whoami = server.cli.run(["auth", "whoami"]);
    assert!(!whoami.ok().trim().is_empty());
    let orgs = server.cli.run(["orgs", "list", "--json"]);
    assert!(orgs.ok().contains("personal"), "{}", orgs.stdout);

    let again = server.run("up", &[]);
    assert!(
        again.ok().contains(&format!("pid {pid}")),
        "{}",
        again.stdout
    );
    assert_eq!(server.status().expect("still there")["pid"], pid);

    let archive = mayfly_conformance::hello_archive();
    let archive = archive.to_str().expect("a plain path");
    server
        .cli
        .run(["image", "import", archive, "--name", "hello:latest"])
        .ok();
    server.cli.run(["apps", "create", "site"]).ok();
    server
        .cli
        .run([
            "machine",
            "run",
            "hello:latest",
            "--app",
            "site",
            "--name",
            "one",
            "--detach",
            "--volume",
            "data:/data:1",
        ])
        .ok();
    let state = || {
        let listed = server
            .cli
            .run(["machine", "list", "--app", "site", "--json"])
            .json();
        listed[0]["state"].as_str().unwrap_or_default().to_owned()
    };
    wait_until("the machine runs", || state() == "started");

    // Down with machines kept: their process lives on without a daemon.
    server.run("down", &["--keep-machines"]).ok();
    assert!(server.status().is_none());
    let machines: Vec<String> = fs::read_dir(server.data_dir().join("machines"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .collect();
    assert!(
        !Leftovers::find(&server.data_dir(), &machines)
            .processes
            .is_empty()
    );
    // Down for good: nothing runs.
    let down = server.run("down", &[]);
    assert!(down.ok().contains("one machine"), "{}", down.stdout);
    let left = Leftovers::find(&server.data_dir(), &machines);
    assert!(left.processes.is_empty(), "{left:?}");
    assert_eq!(Leftovers::of_cloud(&server.data_dir()), [""; 0]);
    assert!(server.run("down", &[]).ok().contains("does not run"));
    assert_eq!(Leftovers::of_cloud(&server.data_dir()), [""; 0]);
    // What ran, runs again.
    server.run("up", &[]).ok();
    wait_until("the machine runs again", || state() == "started");
    // A daemon that was killed is cleaned up after, too.
    assert!(!Leftovers::of_cloud(&server.data_dir()).is_empty());
    let pid = server.status().expect("a status file")["pid"].to_string();
    Command::new("kill").args(["-9", &pid]).status().unwrap();
    wait_until("the daemon is gone", || {
        !PathBuf::from("/proc").join(&pid).exists()
    });
    let down = server.run("down", &[]);
    assert!(down.ok().contains("one machine"), "{}", down.stdout);
    let left = Leftovers::find(&server.data_dir(), &machines);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(Leftovers::of_cloud(&server.data_dir()), [""; 0]);
}

#[test]
fn two_clouds_on_one_server_do_not_meet() {
    let first = Stage::set();
    let mut second = Stage::set();
    let in_first = first.start(Stage::sleeper());
    let in_second = second.start(Stage::sleeper());
    assert_eq!(
        first
            .cloud
            .get(&first.path(""))
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let foreign = second.cloud.get(&second.path(&format!("/{in_first}")));
    assert_eq!(foreign.status, 404);
    // The end of one, with everything it swept, is nothing to the other.
    second.cloud.crash_and_restart();
    drop(second);
    assert_eq!(first.state(&in_first), "started");
    assert_eq!(first.shell(&in_first, "echo well"), "well");
    assert_ne!(in_first, in_second);
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_with_the_pid_of_the_first() {
    let cloud = TestCloud::start();
    let second = run_mayflyd(&["--data-dir", cloud.data_dir().to_str().unwrap()]);
    assert!(
        second.contains(&format!("pid {}", cloud.daemon_pid())),
        "{second}"
    );
    cloud.get("/v1/apps?org_slug=personal").expect(200);
}

#[test]
fn a_taken_port_and_a_wrong_setting_are_named() {
    let cloud = TestCloud::start();
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let taken = cloud.api().to_string();
    let said = run_mayflyd(&["--data-dir", data_dir, "--api-listen", &taken]);
    assert!(said.contains(&taken), "{said}");
    fs::write(directory.path().join("config.toml"), "[edge]\nprot = 1\n").unwrap();
    let said = run_mayflyd(&["--data-dir", data_dir]);
    assert!(
        said.contains("prot") && said.contains("config.toml"),
        "{said}"
    );
}

#[test]
fn without_root_the_reason_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(binaries().join("mayflyd"))
        .args(["run", "--data-dir"])
        .arg(directory.path())
        .output()
        .expect("setpriv is part of util-linux");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("root"), "{said}");
}

#[test]
fn an_orderly_restart_leaves_machines_alone() {
    let mut stage = Stage::set();
    let mark = "upgrade-witness-1";
    let id = stage.start(Stage::script(&format!(
        ": {mark}; while true; do sleep 1; done"
    )));
    let pid = stage.host_pid(mark);
    let ended = stage.cloud.stop_daemon();
    assert!(ended.success(), "{ended}");
    stage.cloud.start_daemon();
    assert_eq!(stage.host_pid(mark), pid);
    assert_eq!(stage.state(&id), "started");
    assert_eq!(stage.exits(&id), 0);
    stage.act(&id, "exec", json!({"command": ["/bin/true"]}));
}

/// Runs a daemon that is expected to refuse; returns what it said.
fn run_mayflyd(arguments: &[&str]) -> String {
    let output = Command::new(binaries().join("mayflyd"))
        .arg("run")
        .args(arguments)
        .output()
        .expect("mayflyd can be started");
    assert!(!output.status.success(), "it was expected to refuse");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
