//! Machines per second from nothing to running, two at a time, beside `podman run --detach` of the same image.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use crate::cloud::{BenchCloud, IMAGE};
use crate::peer::Peer;
use crate::stats::Pairs;

const ROUNDS: usize = 5;
const BATCH: usize = 10;
/// Callers at once, for both sides.
const CALLERS: usize = 2;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let archive = cloud.cloud.data_dir().join("bench-image.tar");
    let podman = Podman::load(archive.to_str().context("a temporary path is text")?)?;
    let mut batches = Pairs::default();
    for round in 0..=ROUNDS {
        let (ours, machines) = batch(|_, _| {
            let machine = cloud.create()?;
            cloud.wait(&machine, "started")?;
            Ok(machine)
        })?;
        for machine in &machines {
            cloud.destroy(machine)?;
        }
        let (theirs, containers) = batch(|caller, index| {
            let name = format!("mayfly-bench-{round}-{index}");
            let limits = [
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=1024:1024",
            ];
            podman.run(
                caller,
                &[&["run", "--detach", "--name", &name][..], &limits, &[IMAGE]].concat(),
            )?;
            Ok(name)
        })?;
        for name in &containers {
            podman.run(0, &["rm", "--force", "--time", "0", name])?;
        }
        if round > 0 {
            batches.add(ours, theirs);
        }
    }
    batches.print(
        &format!("{BATCH} machines created and started"),
        &format!("{BATCH} × podman run"),
    );
    Ok(())
}

/// Does `work` (given caller and index) for each of a batch, by several callers at once; returns how long all took.
fn batch<T: Send>(work: impl Fn(usize, usize) -> Result<T> + Sync) -> Result<(Duration, Vec<T>)> {
    let began = Instant::now();
    let done = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let work = &work;
                let indexes = (caller..BATCH).step_by(CALLERS);
                scope.spawn(move || {
                    indexes
                        .map(|index| work(caller, index))
                        .collect::<Result<Vec<T>>>()
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().ok().context("a caller panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    Ok((began.elapsed(), done.into_iter().flatten().collect()))
}

/// Podman with storage of its own and a runner per caller, all in one namespace.
struct Podman {
    directory: TempDir,
    runners: Vec<Mutex<Peer>>,
}

impl Podman {
    fn load(archive: &str) -> Result<Podman> {
        let first = Peer::start()?;
        let mut runners = (1..CALLERS)
            .map(|_| first.sibling().map(Mutex::new))
            .collect::<Result<Vec<_>>>()?;
        runners.insert(0, Mutex::new(first));
        let podman = Podman {
            directory: TempDir::with_prefix("mayfly-bench-podman-")?,
            runners,
        };
        podman.run(0, &["load", "--input", archive])?;
        Ok(podman)
    }

    fn run(&self, caller: usize, rest: &[&str]) -> Result<()> {
        let storage = self
            .directory
            .path()
            .to_str()
            .context("a temporary path is text")?;
        let mut words = vec![
            "podman",
            "--root",
            storage,
            "--runroot",
            storage,
            "--cgroup-manager",
            "cgroupfs",
        ];
        words.extend_from_slice(rest);
        let mut runner = self.runners[caller]
            .lock()
            .map_err(|_| anyhow!("a caller panicked"))?;
        runner.run(&words).map(drop)
    }
}
