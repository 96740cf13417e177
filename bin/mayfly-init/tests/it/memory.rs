//! Cgroups: what is charged to the guest, and what happens when memory runs out.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::PathBuf;

use crate::harness::{Machine, shell};

/// A memory cgroup of either version; removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str, limit_bytes: u64) -> Cgroup {
        let name = format!("mayfly-init-test-{}-{name}", std::process::id());
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (path, limit) = if v1.join("memory.limit_in_bytes").exists() {
            (v1.join(name), "memory.limit_in_bytes")
        } else {
            fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory").unwrap();
            (PathBuf::from("/sys/fs/cgroup").join(name), "memory.max")
        };
        fs::create_dir(&path).unwrap();
        fs::write(path.join(limit), limit_bytes.to_string()).unwrap();
        Cgroup(path)
    }

    fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A machine in a cgroup. Declared first, so that it is gone before its cgroup is removed.
struct Limited {
    machine: Machine,
    cgroup: Cgroup,
}

fn limited(name: &str, script: &str) -> Limited {
    let mut machine = shell(script);
    let cgroup = Cgroup::new(name, 24 << 20);
    machine.spec.cgroups = vec![cgroup.0.clone()];
    Limited { machine, cgroup }
}

const EAT: &str = "exec head -c 200000000 /dev/zero | tail -n 1 > /dev/null";

#[test]
fn running_out_of_memory_is_recorded() {
    let mut limited = limited("main", &format!("{EAT}; exit 137"));
    let (exit, lines) = limited.machine.run();
    assert!(exit.oom_killed, "{exit:?} {lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("Out of memory")),
        "{lines:?}"
    );
}

#[test]
fn an_ordinary_end_is_not_for_want_of_memory() {
    let mut limited = limited("fine", "exit 1");
    let (exit, _) = limited.machine.run();
    assert!(!exit.oom_killed);
    assert_eq!(exit.exit_code, Some(1));
}

#[test]
fn a_session_that_runs_out_does_not_end_the_machine() {
    let mut limited = limited("session", "while :; do sleep 1; done");
    limited.machine.start();
    limited.machine.sh(EAT);
    let line = limited.machine.wait_for_line("Out of memory");
    assert_eq!(line.source, mayfly_logs::Source::Runner);
    assert_eq!(limited.machine.sh("echo alive").1, "alive\n");
}

#[test]
fn the_monitor_is_not_the_guest_s_to_pay() {
    let mut limited = limited("outside", "while :; do sleep 1; done");
    let guest = limited.machine.start();
    let inside = limited.cgroup.processes();
    assert!(inside.contains(&guest.init_pid), "{inside:?}");
    assert!(!inside.contains(&guest.monitor_pid), "{inside:?}");
    let (_, output, _) = limited.machine.sh("cat /proc/self/cgroup; ls /sys/fs/cgroup/; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max");
    assert!(output.contains(&(24 << 20).to_string()), "{output}");
    assert!(!output.contains("mayfly-init-test"), "{output}");
}

#[test]
fn a_missing_cgroup_runs_nothing() {
    let mut machine = shell("echo never");
    machine.spec.cgroups = vec!["/sys/fs/cgroup/nope".into()];
    let line = machine.launch();
    assert!(line.starts_with("failed"), "{line}");
    assert!(machine.messages().is_empty());
}
