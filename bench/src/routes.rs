//! What a large fleet costs an edge that has one request to route: lookups, a table after one change, bytes per app.
//!
//! The catalog's own entries are the host's and not counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_edge::{Fleet, FleetConfig, FleetSources};
use mayfly_edge_api::Directory;
use mayfly_host_api::Catalog;
use mayfly_runtime::{Stop, SystemEntropy};
use tokio::sync::watch;

use crate::fleet::{Nobody, entry_of};
use crate::stats::{Spread, median};

const FEW: usize = 100;
const MANY: usize = 100_000;
const LOOKUPS: usize = 200_000;
const ROUNDS: usize = 15;

pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let (few, many) = (entries(FEW)?, entries(MANY)?);
    let before = resident()?;
    let (_, large) = fleet(&many)?;
    let bytes = resident()?.saturating_sub(before) / MANY;
    println!("memory at {MANY} apps with one machine each: {bytes} bytes per app");
    let (_, small) = fleet(&few)?;
    let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        at_few.push(lookups(&small, FEW)?);
        at_many.push(lookups(&large, MANY)?);
    }
    println!(
        "lookup: {} ns at {FEW} apps, {} ns at {MANY}: ratio {:.2}",
        Spread::of(&at_few),
        Spread::of(&at_many),
        median(&at_many) / median(&at_few)
    );
    drop((small, large));
    let (at_few, at_many) = (changes(few).await?, changes(many).await?);
    println!(
        "one change seen in the table: {} ms at {FEW} apps, {} ms at {MANY}: ratio {:.2}",
        Spread::of(&at_few),
        Spread::of(&at_many),
        median(&at_many) / median(&at_few)
    );
    Ok(())
}

fn fleet(entries: &Catalog) -> Result<(watch::Sender<Catalog>, Arc<Fleet>)> {
    let (catalog, fleet, _) = built(entries)?;
    Ok((catalog, fleet))
}

fn built(entries: &Catalog) -> Result<(watch::Sender<Catalog>, Arc<Fleet>, mayfly_edge::Keeper)> {
    let catalog = watch::Sender::new(Arc::clone(entries));
    let config = FleetConfig {
        domain: "bench.test".to_owned(),
        region: "ams".parse()?,
        autostop_period: Duration::from_secs(3600),
        latency: mayfly_edge::Latency::default(),
    };
    let directory = watch::Sender::new(Arc::new(Directory::default())).subscribe();
    let sources = FleetSources {
        catalogs: vec![catalog.subscribe()],
        others: watch::Sender::default().subscribe(),
        directory,
    };
    let (fleet, keeper) = config.build(sources, Arc::new(Nobody), &SystemEntropy);
    Ok((catalog, fleet, keeper))
}

/// Nanoseconds per lookup of names from all over the table.
fn lookups(fleet: &Fleet, apps: usize) -> Result<f64> {
    let names: Vec<String> = (0..1000)
        .map(|number| format!("app-{}.bench.test", number * 7919 % apps))
        .collect();
    let began = Instant::now();
    for number in 0..LOOKUPS {
        ensure!(fleet.knows_host(&names[number % names.len()]));
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64)
}

/// Milliseconds from the publication of a catalog with one more app until the fleet knows it.
async fn changes(entries: Catalog) -> Result<Vec<f64>> {
    let (catalog, fleet, keeper) = built(&entries)?;
    let stop = Stop::new();
    let ending = stop.clone();
    let change = async {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            // After what the table before it made wait.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut more = entries.to_vec();
            let number = entries.len() + round;
            more.push(Arc::new(entry_of(&format!("app-{number}"), number)?));
            let more = Arc::new(more);
            let host = format!("app-{number}.bench.test");
            let began = Instant::now();
            catalog.send_replace(more);
            while !fleet.knows_host(&host) {
                tokio::task::yield_now().await;
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        ending.cancel();
        Ok(times)
    };
    tokio::join!(keeper.run(stop), change).1
}

fn entries(count: usize) -> Result<Catalog> {
    let entries = (0..count).map(|number| entry_of(&format!("app-{number}"), number).map(Arc::new));
    Ok(Arc::new(entries.collect::<Result<_>>()?))
}

/// Bytes of memory this process holds.
fn resident() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib: usize = kib
        .context("the kernel tells the resident size")?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}
