//! What a machine is made of: root, files, volumes, users, environment.

use std::fs;
use std::os::unix::fs::symlink;

use mayfly_guest::{ExecOutcome, FileEntry, MountEntry};

use crate::harness::shell;

const EXITED: ExecOutcome = ExecOutcome::Exited { code: 0 };

fn file(path: &str, content: Option<&str>, mode: u32) -> FileEntry {
    FileEntry {
        guest_path: path.into(),
        content: content.map(|content| content.as_bytes().to_vec()),
        mode,
    }
}

#[test]
fn files_are_placed_and_removed() {
    let mut machine =
        shell("exec 2>&1; cat /etc/app/conf; stat -c %a /etc/app/conf /opt/run; ls /etc/group");
    fs::write(machine.path("layer/etc/motd"), "old").unwrap();
    machine.main().files = vec![
        file("/etc/app/conf", Some("content\n"), 0o640),
        file("/opt/run", Some("#!/bin/sh\n"), 0o755),
        file("/etc/group", None, 0),
    ];
    let (exit, lines) = machine.run();
    assert_eq!(exit.exit_code, Some(1));
    assert_eq!(lines[..3], ["content", "640", "755"]);
    assert!(lines[3].contains("No such file"), "{lines:?}");
    assert!(
        machine.path("layer/etc/group").exists(),
        "layers are never written"
    );
}

#[test]
fn files_do_not_escape_by_links_of_the_image() {
    let mut machine = shell("cat /etc/hosts");
    let outside = machine.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("hosts"), "the host's own").unwrap();
    symlink(&outside, machine.path("layer/absolute")).unwrap();
    symlink(outside.join("hosts"), machine.path("layer/etc/hosts")).unwrap();
    symlink("/proc/self/fd/3", machine.path("layer/etc/resolv.conf")).unwrap();
    machine.main().files = vec![file("/etc/hostname", Some("x"), 0o644)];
    let (exit, lines) = machine.run();
    assert_eq!(exit.exit_code, Some(0));
    assert_eq!(lines, ["127.0.0.1 localhost"]);
    assert_eq!(
        fs::read_to_string(outside.join("hosts")).unwrap(),
        "the host's own"
    );

    machine.main().files = vec![file("/absolute/new", Some("x"), 0o644)];
    let line = machine.launch();
    assert!(
        line.starts_with("failed"),
        "a link out of the root leads nowhere: {line}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn the_kernels_directories_take_no_files_or_links() {
    let mut machine = shell("true");
    machine.main().files = vec![file("/proc/sysrq-trigger", Some("c"), 0o644)];
    let line = machine.launch();
    assert!(line.contains("/proc belongs to the system"), "{line}");

    machine.main().files.clear();
    fs::remove_dir(machine.path("layer/proc")).unwrap();
    symlink("/tmp", machine.path("layer/proc")).unwrap();
    let line = machine.launch();
    assert_eq!(line, "failed /proc of the image is not a directory");
}

#[test]
fn volumes_are_mounted_and_may_be_read_only() {
    let mut machine =
        shell("cat /data/in; echo out > /data/new; cat /config/in; echo x > /config/y");
    for volume in ["data", "config"] {
        fs::create_dir(machine.path(volume)).unwrap();
        fs::write(machine.path(volume).join("in"), format!("{volume}\n")).unwrap();
    }
    machine.main().mounts = [("data", false), ("config", true)]
        .map(|(name, read_only)| MountEntry {
            source: machine.path(name),
            guest_path: format!("/{name}"),
            read_only,
        })
        .into();
    let (exit, mut lines) = machine.run();
    lines.sort();
    assert_eq!(exit.exit_code, Some(1));
    assert_eq!(lines[1..], ["config", "data"]);
    assert!(lines[0].contains("Read-only file system"), "{lines:?}");
    assert_eq!(
        fs::read_to_string(machine.path("data/new")).unwrap(),
        "out\n"
    );
}

#[test]
fn users_and_groups_come_from_the_image() {
    let mut machine = shell("id; echo $HOME; pwd; echo to-stdout > /dev/stdout; id -u > /etc/x");
    machine.main().processes[0].user = "app".into();
    machine.main().processes[0].cwd = "/home/app/made".into();
    let (exit, lines) = machine.run();
    assert_eq!(exit.exit_code, Some(1));
    assert!(
        lines[0].starts_with("uid=1000(app) gid=1001(app) groups=")
            && lines[0].contains("44(video)")
            && lines[0].contains("1001(app)"),
        "{lines:?}"
    );
    assert!(lines.contains(&"/home/app".to_owned()));
    assert!(lines.contains(&"/home/app/made".to_owned()));
    assert!(lines.contains(&"to-stdout".to_owned()), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("Permission denied")),
        "{lines:?}"
    );

    machine.main().processes[0].user = "nobody".into();
    assert_eq!(machine.launch(), "failed user nobody is not in /etc/passwd");
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let mut machine = shell("env; hostname; cat /etc/hostname /etc/resolv.conf");
    machine.main().processes[0].env = [("GREETING".to_owned(), "hello world".to_owned())].into();
    let (_, lines) = machine.run();
    for wanted in [
        "GREETING=hello world",
        "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "nameserver fdaa::3",
    ] {
        assert!(lines.contains(&wanted.to_owned()), "{wanted} in {lines:?}");
    }
    assert_eq!(
        lines.iter().filter(|line| *line == "test-machine").count(),
        2
    );
    let variables = lines.iter().filter(|line| line.contains('=')).count();
    // PWD, SHLVL and perhaps OLDPWD are the shell's.
    assert!(
        variables <= 6,
        "nothing of the host's environment: {lines:?}"
    );
}

#[test]
fn many_layers_are_stacked_in_order() {
    let mut machine = shell("cat /layer");
    for number in 0..200 {
        let path = machine.path(&format!("layer-{number}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("layer"), format!("{number}\n")).unwrap();
        let last = machine.main().root.lower.len() - 1;
        machine.main().root.lower.insert(last, path);
    }
    let (exit, lines) = machine.run();
    assert_eq!(
        (exit.exit_code, &lines[..]),
        (Some(0), &["0".to_owned()][..])
    );
}

#[test]
fn a_disk_image_limits_what_is_written() {
    let mut machine =
        shell("echo kept >> /kept; cat /kept; dd if=/dev/zero of=/big bs=1M count=64; rm /big");
    let image = machine.path("disk.img");
    let made = std::process::Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(&image)
        .arg("16M")
        .status()
        .unwrap();
    assert!(made.success());
    machine.main().root.disk_image = Some(image);
    machine.main().root.upper = "/upper".into();
    machine.main().root.work = "/work".into();
    let (_, lines) = machine.run();
    assert!(
        lines.iter().any(|line| line.contains("No space left")),
        "{lines:?}"
    );
    // At once again: the first mount must be gone from the disk by the time the end is recorded.
    let (_, lines) = machine.run();
    assert_eq!(
        lines.iter().filter(|line| *line == "kept").count(),
        3,
        "{lines:?}"
    );
}

#[test]
fn what_was_written_stays_with_the_upper_directory() {
    let mut machine = shell("echo x >> /tmp/file; wc -l < /tmp/file");
    machine.run();
    let (_, lines) = machine.run();
    assert_eq!(lines, ["1", "2"]);
    assert!(!machine.path("layer/tmp/file").exists());
}

#[test]
fn set_user_id_programs_can_work() {
    let mut machine = shell("while :; do sleep 1; done");
    machine.start();
    let (outcome, output, _) =
        machine.sh("grep NoNewPrivs /proc/self/status; grep ' / ' /proc/mounts");
    assert_eq!(outcome, EXITED);
    assert!(output.starts_with("NoNewPrivs:\t0\n"), "{output}");
    assert!(
        output.contains("nodev") && !output.contains("nosuid"),
        "{output}"
    );
}
