//! List and get of one app's machines while the fleet holds 100 and 10,000 machines: the cost must stay flat.
//!
//! The other machines are created with `skip_launch`, in apps of 100 each, so that only rows grow.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cloud::{BenchCloud, IMAGE};
use crate::stats::{Spread, median};

const FEW: usize = 100;
const MANY: usize = 10_000;
const APP_SIZE: usize = 100;
const CALLS: usize = 200;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    fill(&cloud, 0, FEW)?;
    let (list_few, get_few) = measure(&cloud)?;
    fill(&cloud, FEW, MANY)?;
    let (list_many, get_many) = measure(&cloud)?;
    for (name, few, many) in [
        ("list of 100", list_few, list_many),
        ("get of one", get_few, get_many),
    ] {
        println!(
            "{name}: {} ms at {FEW} machines, {} ms at {MANY}: ratio {:.2}",
            Spread::of(&few),
            Spread::of(&many),
            median(&many) / median(&few)
        );
    }
    Ok(())
}

fn fill(cloud: &BenchCloud, from: usize, to: usize) -> Result<()> {
    for app in from / APP_SIZE..to / APP_SIZE {
        cloud
            .cloud
            .post(
                "/v1/apps",
                json!({ "app_name": format!("rows-{app}"), "org_slug": "personal" }),
            )
            .ok();
        for _ in 0..APP_SIZE {
            let body = json!({ "skip_launch": true, "config": { "image": IMAGE } });
            cloud
                .cloud
                .post(&format!("/v1/apps/rows-{app}/machines"), body)
                .ok();
        }
    }
    Ok(())
}

/// Milliseconds of each list and each get, in turns.
fn measure(cloud: &BenchCloud) -> Result<(Vec<f64>, Vec<f64>)> {
    let collection = "/v1/apps/rows-0/machines";
    let machines = cloud.get(collection)?;
    let id = machines[0]["id"]
        .as_str()
        .context("the app has machines")?
        .to_owned();
    let time = |path: &str| -> Result<f64> {
        let began = Instant::now();
        cloud.get(path)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    let (mut lists, mut gets) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        lists.push(time(collection)?);
        gets.push(time(&format!("{collection}/{id}"))?);
    }
    Ok((lists, gets))
}
