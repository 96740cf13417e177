use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that a process and its threads have taken so far: fields 14 and 15 of proc_pid_stat(5).
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces.
    let (_, rest) = text
        .rsplit_once(')')
        .context("a stat line names its program")?;
    let mut ticks = 0;
    for field in rest.split_ascii_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
