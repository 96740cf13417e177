//! From the API's `start` to the state `started`, with the HTTP calls, beside `crun run --detach` of the same program.

use std::path::Path;

use anyhow::Result;

use crate::bundle::Bundle;
use crate::cloud::{BUSYBOX, BenchCloud};
use crate::peer::Peer;
use crate::stats::Pairs;

const ROUNDS: usize = 40;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let bundle = Bundle::make(Path::new(BUSYBOX))?;
    let mut crun = Peer::start()?;
    let machine = cloud.create()?;
    cloud.wait(&machine, "started")?;
    cloud.act(&machine, "stop", "stopped")?;
    let (mut starts, mut stops) = (Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let ours = cloud.act(&machine, "start", "started")?;
        let our_stop = cloud.act(&machine, "stop", "stopped")?;
        let theirs = crun.run(&[
            "crun",
            "run",
            "--detach",
            "--bundle",
            bundle.path(),
            "mayfly-bench",
        ])?;
        let their_stop = crun.run(&["crun", "delete", "--force", "mayfly-bench"])?;
        // The first round warms caches.
        if round > 0 {
            starts.add(ours, theirs);
            stops.add(our_stop, their_stop);
        }
    }
    starts.print("machine start", "crun run");
    stops.print("machine stop by SIGKILL", "crun delete --force");
    Ok(())
}
