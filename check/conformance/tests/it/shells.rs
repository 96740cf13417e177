//! Getting into machines: stock OpenSSH, the command line's own ways, and whom they keep out.

mod openssh;
mod proxy;

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use mayfly_conformance::Stage;
use mayfly_testing::{CliRunner, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const SLEEPER: &str = "sleep inf";

/// A stage with one machine that runs; its id.
fn machine() -> (Stage, String) {
    let stage = Stage::set();
    let id = stage.start(Stage::script(SLEEPER));
    (stage, id)
}

fn console(cli: &CliRunner, more: &[&str]) -> mayfly_testing::CliAnswer {
    let words = ["ssh", "console", "--app", "stage"];
    cli.run(words.iter().chain(more))
}

#[test]
fn a_console_passes_streams_and_exit_codes_on() {
    let (stage, id) = machine();
    let cli = stage.cloud.cli();
    let failed = console(&cli, &["-C", "sh -c \"exit 7\""]);
    assert_eq!(failed.code, Some(7), "{failed:?}");
    assert_eq!(console(&cli, &["-C", "hostname"]).ok().trim(), id);
    let piped = console(
        &cli,
        &["-C", "echo one; echo two | tr a-z A-Z; echo three >&2"],
    );
    assert_eq!(
        (piped.ok(), piped.stderr.as_str()),
        ("one\nTWO\n", "three\n")
    );
    assert_eq!(console(&cli, &["-C", "id -un"]).ok(), "root\n");
    assert_eq!(
        console(&cli, &["-C", "id -un", "-u", "hello"]).ok(),
        "hello\n"
    );
    let killed = console(&cli, &["-C", "kill -9 $$"]);
    assert_eq!(killed.code, Some(137), "{killed:?}");
    let missing = console(&cli, &["-C", "nonesuch"]);
    assert!(missing.refused().contains("nonesuch"), "{missing:?}");
    // Without a terminal, standard input is the script.
    let script = cli.run_with_input(
        ["ssh", "console", "--app", "stage"],
        "echo $((6*7)); exit 3\n",
    );
    assert_eq!((script.stdout.as_str(), script.code), ("42\n", Some(3)));
    // A terminal of its own there, though we have none.
    let pty = console(&cli, &["--pty", "-C", "tty"]);
    assert!(pty.ok().starts_with("/dev/pts/"), "{pty:?}");
    let listed = console(&cli, &["-s", "-C", "hostname"]);
    assert_eq!(listed.code, Some(1));
    assert!(listed.stdout.contains(&id), "{listed:?}");
    assert_eq!(
        console(&cli, &["--machine", &id, "-C", "hostname"])
            .ok()
            .trim(),
        id
    );
    let none = console(&cli, &["-r", "nrt", "-C", "hostname"]);
    assert!(none.refused().contains("no started machine"), "{none:?}");
    // Everything of this was noted.
    let log = cli.run(["ssh", "log", "--json"]).json();
    let sessions = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "ssh.session" && entry["machine_id"] == id.as_str());
    let whats: Vec<&str> = sessions
        .filter_map(|entry| entry["after"]["what"].as_str())
        .collect();
    assert!(whats.contains(&"exec") && whats.contains(&"shell"), "{log}");
}

#[test]
fn files_go_both_ways_with_their_modes() {
    let (stage, _id) = machine();
    let cli = stage.cloud.cli();
    let here = cli.home().join("here");
    std::fs::create_dir_all(here.join("inner")).unwrap();
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|number| (number % 251) as u8)
        .collect();
    std::fs::write(here.join("big"), &content).unwrap();
    std::fs::write(here.join("inner/script"), "#!/bin/sh\necho hi\n").unwrap();
    std::fs::write(here.join("empty"), "").unwrap();
    set_mode(&here.join("inner/script"), 0o750);
    set_mode(&here.join("big"), 0o604);
    let sftp = |words: &[&str]| {
        let all = ["sftp"].iter().chain(words).chain(&["--app", "stage"]);
        cli.run(all)
    };
    sftp(&["put", "-R", "here", "/tmp/there"]).ok();
    assert_eq!(
        console(&cli, &["-C", "/tmp/there/inner/script"]).ok(),
        "hi\n"
    );
    let modes = console(
        &cli,
        &["-C", "stat -c %a /tmp/there/big /tmp/there/inner/script"],
    );
    assert_eq!(modes.ok(), "604\n750\n");
    sftp(&["get", "-R", "/tmp/there", "back"]).ok();
    let back = cli.home().join("back");
    assert_eq!(std::fs::read(back.join("big")).unwrap(), content);
    assert_eq!(std::fs::read(back.join("empty")).unwrap(), b"");
    assert_eq!(mode(&back.join("inner/script")), 0o750);
    assert!(sftp(&["get", "/tmp/there", "x"]).refused().contains("-R"));
    sftp(&["put", "here/empty", "/tmp/one", "--mode", "0600"]).ok();
    let modes = console(&cli, &["-C", "stat -c %a /tmp/one"]);
    assert_eq!(modes.ok(), "600\n");
    let again = sftp(&["get", "/tmp/there/big", "back/big"]);
    assert!(again.refused().contains("already there"), "{again:?}");
    let found = sftp(&["find", "/tmp/there"]);
    assert!(
        found
            .ok()
            .lines()
            .any(|line| line == "/tmp/there/inner/script")
    );
    let missing = sftp(&["get", "/none"]);
    assert!(missing.refused().contains("/none"), "{missing:?}");
    // The user's rights are the kernel's.
    console(&cli, &["-C", "mkdir -m 700 /tmp/private"]).ok();
    let denied = sftp(&["put", "here/empty", "/tmp/private/x", "-u", "hello"]);
    assert!(denied.refused().contains("denied"), "{denied:?}");
    let script = "cd /tmp\npwd\nmkdir new\nput here/empty new/e\nls new\nrm new/e\nrmdir new\n";
    let shell = cli.run_with_input(["sftp", "shell", "--app", "stage"], script);
    let said = shell.ok();
    assert!(
        said.starts_with("/tmp\n") && said.contains(" e\n"),
        "{said}"
    );
}

#[test]
fn a_throw_away_console_leaves_nothing_whoever_ends_it() {
    let stage = Stage::set();
    let id = stage.start({
        let mut config = Stage::script(SLEEPER);
        config["env"] = serde_json::json!({ "COLOUR": "green" });
        config
    });
    let cli = stage.cloud.cli();
    let words = ["console", "--app", "stage", "-C"];
    let printed = cli.run(words.iter().chain(&["echo $FLY_APP_NAME; echo $COLOUR"]));
    assert_eq!(printed.ok(), "stage\ngreen\n");
    let only = |what: &str| {
        wait_until(what, || {
            let machines = stage.cloud.get(&stage.path("")).expect(200);
            let list = machines.as_array().unwrap().clone();
            list.len() == 1 && list[0]["id"] == id.as_str()
        });
    };
    only("the console's machine is gone");
    let mut client = cli
        .command()
        .args(words.iter().chain(&["echo up; sleep 600"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = [0; 3];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    only("the machine of a killed console is gone");
}

#[test]
fn names_echoes_and_the_doctor() {
    let (stage, id) = machine();
    let cli = stage.cloud.cli();
    let address: std::net::Ipv6Addr = stage.get(&id)["private_ip"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let short = cli.run(["dig", "aaaa", "stage.internal", "--short"]);
    assert_eq!(short.ok().trim(), address.to_string());
    let text = cli.run(["dig", "txt", "vms.stage.internal", "--short"]);
    assert!(text.ok().contains(&id), "{text:?}");
    let none = cli.run(["dig", "aaaa", "none.internal", "--short", "--app", "stage"]);
    assert!(none.refused().contains("NXDOMAIN"), "{none:?}");
    let pinged = cli.run(["ping", "-n", "2", "stage.internal", "-i", "50ms"]);
    let replies = pinged.ok().lines().filter(|line| line.contains("time="));
    assert_eq!(replies.count(), 2, "{pinged:?}");
    let silent = cli.run(["ping", "-n", "1", "fdaa:0:7777::1", "--app", "stage"]);
    assert!(
        silent.refused().contains("no address of a machine"),
        "{silent:?}"
    );
    let doctor = cli.run(["doctor", "--app", "stage"]);
    assert!(
        doctor.ok().lines().all(|line| line.ends_with("PASSED")),
        "{doctor:?}"
    );
    let mut command = cli.command();
    command.args(["doctor"]).env("FLY_API_TOKEN", "fo1_wrong");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.lines().next().unwrap().ends_with("FAILED"), "{said}");
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Asks a child to end, and waits for it.
fn end(mut child: Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    child.wait().unwrap();
}

/// Writes a pattern of `mebibytes` and returns it to nobody.
fn pour(mut into: impl Write, mebibytes: u64) {
    for number in 0..mebibytes {
        into.write_all(&mebibyte(number)).unwrap();
    }
}

/// Reads the same pattern to its end.
fn expect_poured(mut from: impl Read, mebibytes: u64) {
    let mut piece = vec![0; 1 << 20];
    for number in 0..mebibytes {
        from.read_exact(&mut piece).unwrap();
        assert!(
            piece == mebibyte(number),
            "mebibyte {number} is not what was sent"
        );
    }
    assert_eq!(from.read(&mut piece).unwrap(), 0, "nothing comes behind it");
}

fn mebibyte(number: u64) -> Vec<u8> {
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_le_bytes()
        .repeat(1 << 17)
}

/// Resident memory of a process, in mebibytes.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
