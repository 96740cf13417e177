//! The cgroups of the guest, in which the monitor never is itself.

use std::fs;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::failure::{Failure, While};

/// Moves a process into the cgroups.
pub(crate) fn join(cgroups: &[PathBuf], pid: Pid) -> Result<(), Failure> {
    let pid = pid.as_raw_nonzero().to_string();
    for cgroup in cgroups {
        fs::write(cgroup.join("cgroup.procs"), &pid)
            .when(format_args!("join cgroup {}", cgroup.display()))?;
    }
    Ok(())
}

/// How often the kernel has killed something in these cgroups for want of memory.
pub(crate) fn oom_kills(cgroups: &[PathBuf]) -> u64 {
    cgroups
        .iter()
        .flat_map(|cgroup| ["memory.events", "memory.oom_control"].map(|name| cgroup.join(name)))
        .filter_map(|path| counter(&fs::read_to_string(path).ok()?))
        .sum()
}

/// The `oom_kill` line of either version's file.
fn counter(content: &str) -> Option<u64> {
    content
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_count_alike() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 7\noom 5\noom_kill 4\noom_group_kill 0\n";
        assert_eq!(counter(v1), Some(3));
        assert_eq!(counter(v2), Some(4));
        assert_eq!(counter("low 0\n"), None);
    }
}
