//! A deployment of a prebuilt image to 2 and to 10 machines, from the request to the end of the release, beside the sum of
//! as many bare machine starts of the same cloud, in turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cloud::{APP, BenchCloud, IMAGE, machines, ok};
use crate::stats::Pairs;

const ROUNDS: usize = 10;
/// From one to the next at most.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let bare = cloud.create()?;
    cloud.wait(&bare, "started")?;
    cloud.act(&bare, "stop", "stopped")?;
    deploy(&cloud, 0)?;
    for count in [2, 10] {
        let scale = json!({ "counts": { "app": count.to_string() } });
        let scaled = ok(&cloud
            .cloud
            .post(&format!("/v1/apps/{APP}/scale/count"), scale))?;
        if let Some(version) = scaled["release"]["version"].as_i64() {
            end_of(&cloud, version)?;
        }
        ensure!(
            managed(&cloud)? == count,
            "the app has other machines than {count}"
        );
        let mut deployments = Pairs::default();
        for round in 0..=ROUNDS {
            let began = Instant::now();
            deploy(&cloud, count * 100 + round)?;
            let deployed = began.elapsed();
            let mut starts = Duration::ZERO;
            for _ in 0..count {
                starts += cloud.act(&bare, "start", "started")?;
                cloud.act(&bare, "stop", "stopped")?;
            }
            // The first round warms caches.
            if round > 0 {
                deployments.add(deployed, starts);
            }
        }
        deployments.print(
            &format!("deployment to {count} machines"),
            &format!("{count} bare starts"),
        );
    }
    Ok(())
}

/// Deploys something new in every round and waits for its end.
fn deploy(cloud: &BenchCloud, round: usize) -> Result<()> {
    let wanted = json!({
        "image": IMAGE,
        "smoke_checks": false,
        "config": {
            "app": APP,
            "kill_signal": "SIGKILL",
            "env": { "ROUND": round.to_string() },
            "services": [{ "internal_port": 8080, "protocol": "tcp", "ports": [{ "port": 7000 }] }],
        },
    });
    let release = ok(&cloud
        .cloud
        .post(&format!("/v1/apps/{APP}/releases"), wanted))?;
    end_of(
        cloud,
        release["version"]
            .as_i64()
            .context("a release has a version")?,
    )
}

fn end_of(cloud: &BenchCloud, version: i64) -> Result<()> {
    let path = format!("/v1/apps/{APP}/releases/{version}");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let release = cloud.get(&path)?;
        match release["status"].as_str() {
            Some("complete") => return Ok(()),
            Some("queued" | "running") => std::thread::sleep(Duration::from_millis(5)),
            _ => bail!("{release}"),
        }
    }
    bail!("release v{version} does not end")
}

/// How many machines deployments look after.
fn managed(cloud: &BenchCloud) -> Result<usize> {
    let all = cloud.get(&machines())?;
    let is_managed = |machine: &&Value| machine["config"]["metadata"]["fly_process_group"] == "app";
    Ok(all
        .as_array()
        .map_or(0, |all| all.iter().filter(is_managed).count()))
}
