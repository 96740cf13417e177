//! From start to end: exit codes, signals, reaping, and what survives whom.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use mayfly_guest::{EXIT_FILE, ExecOutcome, GUEST_FILE};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::harness::{Machine, lives, process, shell, wait_for};

#[test]
fn output_and_exit_code_are_recorded() {
    let mut machine = shell("echo out; echo err >&2; printf rest; exit 7");
    let (exit, _) = machine.run();
    assert_eq!((exit.exit_code, exit.signal), (Some(7), None));
    assert_eq!(exit.failure, None);
    assert!(!exit.oom_killed);
    let mut log: Vec<_> = machine
        .log()
        .into_iter()
        .map(|record| (record.stream, record.message))
        .collect();
    log.sort();
    let wanted = [("stderr", "err"), ("stdout", "out"), ("stdout", "rest")];
    assert_eq!(log, wanted.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_signal_that_ended_it_is_recorded() {
    let mut machine = shell("kill -9 $$");
    let (exit, _) = machine.run();
    assert_eq!((exit.exit_code, exit.signal), (None, Some(9)));
}

#[test]
fn what_cannot_run_says_why() {
    let mut machine = Machine::new(process(&["/nope", "x"]));
    assert_eq!(
        machine.launch(),
        "failed exec /nope: no such file or directory"
    );
    let exit = machine.exit();
    assert_eq!(exit.exit_code, None);
    assert_eq!(
        exit.failure.as_deref(),
        Some("exec /nope: no such file or directory")
    );
    assert_eq!(
        machine.relaunch(),
        "failed exec /nope: no such file or directory"
    );
}

#[test]
fn signals_reach_the_main_process() {
    let mut machine =
        shell("trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.05; done");
    machine.start();
    machine.wait_for_line("ready");
    machine.signal(10);
    assert_eq!(machine.exit().exit_code, Some(3));
    assert_eq!(machine.messages(), ["ready", "got"]);
}

#[test]
fn orphans_are_reaped() {
    let mut machine =
        shell("for i in 1 2 3 4 5; do (true & exec true); done; while :; do sleep 1; done");
    machine.start();
    wait_for("no zombie is left", || {
        let (outcome, output, _) = machine.sh("ps -o stat,comm | grep -c ^Z");
        assert!(matches!(outcome, ExecOutcome::Exited { .. }));
        (output.trim() == "0").then_some(())
    });
}

#[test]
fn the_same_launch_starts_nothing_twice() {
    let mut machine = shell("echo once; while :; do sleep 1; done");
    let guest = machine.start();
    assert_eq!(machine.relaunch(), "started");
    assert_eq!(machine.guest(), guest);
    machine.wait_for_line("once");
    machine.signal(9);
    assert_eq!(machine.exit().signal, Some(9));
    assert_eq!(machine.relaunch(), "started");
    assert_eq!(machine.messages(), ["once"]);
}

#[test]
fn a_new_launch_begins_with_a_clean_directory() {
    let mut machine = shell("exit 4");
    machine.run();
    machine.main().processes[0] = process(&["/bin/sh", "-c", "exit 5"]);
    let (exit, _) = machine.run();
    assert_eq!(exit.exit_code, Some(5));
}

#[test]
fn the_guest_dies_with_its_monitor() {
    let mut machine = shell("while :; do sleep 1; done");
    let guest = machine.start();
    kill_process(
        Pid::from_raw(guest.monitor_pid as i32).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    wait_for("the init is gone", || {
        (!lives(guest.init_pid, guest.init_start_ticks)).then_some(())
    });
    assert!(!machine.run_dir().join(EXIT_FILE).exists());
    let line = machine.relaunch();
    assert!(
        line.starts_with("failed this launch was made before"),
        "{line}"
    );
}

#[test]
fn killing_the_starter_and_its_group_leaves_the_guest_alive() {
    let mut machine = shell("trap 'echo hup' HUP TERM INT; echo up; while :; do sleep 0.05; done");
    machine.write_launch();
    // The starter stays, as a daemon does, and leads a group of its own.
    let mut starter = Command::new("/bin/sh")
        .args(["-c", "\"$0\" monitor \"$1\"; exec sleep 1000"])
        .arg(env!("CARGO_BIN_EXE_mayfly-init"))
        .arg(machine.run_dir())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_for("guest.json", || {
        machine.run_dir().join(GUEST_FILE).exists().then_some(())
    });
    machine.wait_for_line("up");
    let group = Pid::from_child(&starter);
    for signal in [Signal::HUP, Signal::TERM, Signal::KILL] {
        let _ = kill_process_group(group, signal);
    }
    starter.wait().unwrap();
    let guest = machine.guest();
    assert!(lives(guest.init_pid, guest.init_start_ticks));
    assert!(lives(guest.monitor_pid, guest.monitor_start_ticks));
    assert_eq!(machine.sh("echo inside").1, "inside\n");
    // Neither do signals to the monitor itself end anything.
    let monitor = Pid::from_raw(guest.monitor_pid as i32).unwrap();
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        kill_process(monitor, signal).unwrap();
    }
    assert_eq!(machine.sh("echo inside").1, "inside\n");
    assert_eq!(machine.messages(), ["up"]);
}
