//! What an idle machine costs of memory, as proportional set size (shared pages divided by their users), with the
//! growth of the daemon and of kernel memory counted in; then 500 machines at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cloud::{BenchCloud, machines};

const FEW: usize = 10;
const MANY: usize = 500;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let mut ids = Vec::new();
    grow(&cloud, &mut ids, FEW)?;
    let few = Memory::of(&cloud)?;
    grow(&cloud, &mut ids, MANY)?;
    let many = Memory::of(&cloud)?;
    let per_machine =
        |kib: fn(&Memory) -> f64| (kib(&many) - kib(&few)) / (MANY - FEW) as f64 / 1024.0;
    println!(
        "per idle machine, from {FEW} to {MANY}: {:.2} MiB (monitor {:.2}, init {:.2}, daemon {:.2}); \
         kernel and all else by MemAvailable: {:.2} MiB in total",
        per_machine(|memory| memory.monitors + memory.inits + memory.daemon),
        per_machine(|memory| memory.monitors),
        per_machine(|memory| memory.inits),
        per_machine(|memory| memory.daemon),
        (few.available - many.available) / (MANY - FEW) as f64 / 1024.0,
    );
    let listed = cloud.get(&machines())?.as_array().map_or(0, Vec::len);
    let started = cloud
        .get(&format!("{}?state=started", machines()))?
        .as_array()
        .map_or(0, Vec::len);
    println!("{started} of {listed} machines are started");
    Ok(())
}

fn grow(cloud: &BenchCloud, ids: &mut Vec<String>, count: usize) -> Result<()> {
    while ids.len() < count {
        let id = cloud.create()?;
        cloud.wait(&id, "started")?;
        ids.push(id);
    }
    Ok(())
}

/// KiB each.
struct Memory {
    monitors: f64,
    inits: f64,
    daemon: f64,
    available: f64,
}

impl Memory {
    fn of(cloud: &BenchCloud) -> Result<Memory> {
        let data = cloud.cloud.data_dir();
        let mut memory = Memory {
            monitors: 0.0,
            inits: 0.0,
            daemon: pss(cloud.cloud.daemon_pid())?,
            available: available()?,
        };
        for id in cloud.cloud.machine_ids() {
            let record = data.join("machines").join(&id).join("run/guest.json");
            let record: serde_json::Value = serde_json::from_slice(
                &fs::read(&record).with_context(|| format!("read {}", record.display()))?,
            )?;
            let pid = |field: &str| {
                record[field]
                    .as_u64()
                    .and_then(|pid| u32::try_from(pid).ok())
                    .context("a guest has pids")
            };
            memory.monitors += pss(pid("monitor_pid")?)?;
            memory.inits += pss(pid("init_pid")?)?;
        }
        Ok(memory)
    }
}

fn pss(pid: u32) -> Result<f64> {
    field(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Pss:")
}

fn available() -> Result<f64> {
    field(Path::new("/proc/meminfo"), "MemAvailable:")
}

fn field(path: &Path, name: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .with_context(|| format!("{} has {name}", path.display()))?;
    line.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .context("a size is a number")
}
