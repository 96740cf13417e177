//! A cloud as a service of other people's tests, and apps that go by themselves.

use std::fs;
use std::path::Path;
use std::process::Command;

use mayfly_conformance::Stage;
use mayfly_testing::{CliRunner, binaries, wait_until};
use serde_json::{Value, json};

/// A home, and a directory below which temporary clouds are made.
struct Runner {
    home: tempfile::TempDir,
}

impl Runner {
    fn new() -> Runner {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tmp")).unwrap();
        Runner { home }
    }

    /// Runs the command line; returns its code, standard output and errors.
    fn run(&self, line: &[&str]) -> (Option<i32>, String, String) {
        let mut command = CliRunner::at_home(self.home.path()).command();
        command
            .args(line)
            .env("TMPDIR", self.home.path().join("tmp"));
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// What is left of temporary clouds.
    fn left(&self) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(self.home.path().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn a_temporary_cloud_lives_as_long_as_its_command() {
    let runner = Runner::new();
    let mayfly = binaries().join("mayfly");
    let script = "set -e; \"$0\" apps create one >/dev/null; \"$0\" apps list -q; echo \"at $MAYFLY_DATA_DIR\"; exit 7";
    let line = [
        "up",
        "--temporary",
        "--",
        "sh",
        "-c",
        script,
        mayfly.to_str().unwrap(),
    ];
    let (code, stdout, stderr) = runner.run(&line);
    assert_eq!(code, Some(7), "{stdout}{stderr}");
    assert!(stdout.starts_with("one\nat /"), "{stdout}{stderr}");
    assert_eq!(runner.left(), [""; 0], "{stderr}");
    // The command line's own configuration is nobody else's business.
    assert!(!runner.home.path().join(".mayfly/config.yml").exists());

    let (code, _, stderr) = runner.run(&["up", "--temporary", "--", "/no/such/program"]);
    assert!(
        code == Some(1) && stderr.contains("/no/such/program"),
        "{stderr}"
    );
    assert_eq!(runner.left(), [""; 0], "{stderr}");
}

/// The script of a step of the GitHub Action.
fn step(name: &str) -> String {
    let action = include_str!("../../../../ci/github-action/action.yml");
    let step = action
        .split("    - name: ")
        .find(|step| step.starts_with(name));
    let (_, script) = step.unwrap().split_once("run: |\n").unwrap();
    script.to_owned()
}

#[test]
fn the_action_starts_a_cloud_for_later_steps_and_removes_it() {
    let runner = Runner::new();
    let file = runner.home.path().join("env");
    let path = std::env::var("PATH").unwrap();
    let mut env = vec![
        ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
        ("GITHUB_ENV".to_owned(), file.to_str().unwrap().to_owned()),
        (
            "PATH".to_owned(),
            format!("{}:{path}", binaries().display()),
        ),
    ];
    let run = |env: &[(String, String)], script: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .env_clear()
            .envs(env.iter().cloned())
            .env("HOME", runner.home.path())
            .env("TMPDIR", runner.home.path().join("tmp"));
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{script}\n{stdout}{stderr}");
        stdout
    };
    let said = run(&env, &step("Start a cloud"));
    let text = fs::read_to_string(&file).unwrap();
    let exported = text.lines().map(|line| line.split_once('=').unwrap());
    env.extend(exported.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let value = |name: &str| env.iter().find(|(one, _)| one == name).unwrap().1.clone();
    assert_eq!(
        said.trim(),
        format!("::add-mask::{}", value("FLY_API_TOKEN"))
    );
    let data_dir = value("MAYFLY_DATA_DIR");
    assert!(Path::new(&data_dir).is_dir());

    // It was ready when the step ended, beside any other cloud of the machine.
    run(
        &env,
        "mayfly apps create two && curl -fsS -H \"Authorization: Bearer $FLY_API_TOKEN\" $FLY_FLAPS_BASE_URL/v1/apps/two",
    );
    let removed = run(&env, &step("Remove the cloud"));
    assert!(removed.contains("is removed"), "{removed}");
    assert!(!Path::new(&data_dir).exists());
}

#[test]
fn an_app_with_a_time_to_live_goes_by_itself() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let create = |name: &str, ttl: &str| {
        let line = ["apps", "create", name, "--ttl", ttl];
        cli.run(line).ok();
        let line = ["machine", "run", "hello:latest", "--app", name, "--detach"];
        cli.run(line).ok();
    };
    create("preview-1", "2s");
    create("preview-2", "7d");
    // An organization of previews has what its admins say, and no more.
    cli.run(["orgs", "create", "previews"]).ok();
    let budget = "orgs budget previews --apps 1 --machines 1 --ttl 1h";
    let budget = cli.run(budget.split(' '));
    assert!(budget.ok().contains("0 of 1"), "{}", budget.stdout);
    let line = ["apps", "create", "pr-1", "--org", "previews"];
    cli.run(line).ok();
    let over = cli.run(["apps", "create", "pr-2", "--org", "previews"]);
    let whole = "organization `previews` has its whole budget of 1 apps already";
    assert!(over.refused().contains(whole), "{}", over.stderr);
    let one = "machine run hello:latest --app pr-1 --detach";
    cli.run(one.split(' ')).ok();
    let over = cli.run(one.split(' '));
    assert!(over.refused().contains("1 machines"), "{}", over.stderr);
    let list = cli.run(["machine", "list", "--app", "pr-1", "-q"]);
    assert_eq!(list.ok().lines().count(), 1, "{}", list.stdout);
    let ttl = cli.run(["apps", "ttl", "--app", "pr-1"]);
    assert!(ttl.ok().contains("goes at"), "{}", ttl.stdout);
    let raised = "orgs budget previews --apps none --machines 2 --json";
    let raised = cli.run(raised.split(' ')).json();
    assert_eq!(raised["used"], json!({ "apps": 1, "machines": 1 }));
    assert_eq!(
        raised["budget"],
        json!({ "apps": null, "machines": 2, "ttl": "1h0m0s" })
    );
    cli.run(one.split(' ')).ok();
    cli.run(["apps", "destroy", "pr-1", "--yes"]).ok();

    let names = || {
        let list = cli.run(["apps", "list", "-q"]);
        list.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until("the first is gone", || names() == ["preview-2", "stage"]);
    let apps = cli.run(["apps", "list", "--json"]).json();
    let expiry = |name: &str| {
        let mut apps = apps.as_array().unwrap().iter();
        apps.find(|app| app["Name"] == name).unwrap()["ExpiresAt"].clone()
    };
    assert_eq!(expiry("stage"), Value::Null);
    assert!(expiry("preview-2").is_string());

    // A push renews it; who wants to keep the app says so.
    let more = cli.run(["apps", "ttl", "2w", "--app", "preview-2"]);
    assert!(more.ok().contains("goes at"), "{}", more.stdout);
    let stays = cli.run(["apps", "ttl", "none", "--app", "preview-2"]);
    assert!(stays.ok().contains("stays for good"), "{}", stays.stdout);
    cli.run(["apps", "ttl", "1s", "--app", "preview-2"]).ok();
    wait_until("the second is gone", || names() == ["stage"]);
    let wrong = cli.run(["apps", "ttl", "soon", "--app", "stage"]);
    assert!(wrong.refused().contains("7d"), "{}", wrong.stderr);
    let never = cli.run(["apps", "ttl", "0s", "--app", "stage"]);
    assert!(
        never.refused().contains("from 1 second"),
        "{}",
        never.stderr
    );
    let audit = cli.run(["audit", "--org", "personal", "--all", "--kind", "app."]);
    assert!(audit.ok().contains("app.delete"), "{}", audit.stdout);
}
