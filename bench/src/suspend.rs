//! From the API's `start` of a suspended machine to `started`, beside its start from `stopped`.

use anyhow::Result;

use crate::cloud::BenchCloud;
use crate::stats::Pairs;

const ROUNDS: usize = 40;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let machine = cloud.create()?;
    cloud.wait(&machine, "started")?;
    let (mut resumes, mut suspends) = (Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let suspend = cloud.act(&machine, "suspend", "suspended")?;
        let resume = cloud.act(&machine, "start", "started")?;
        let stop = cloud.act(&machine, "stop", "stopped")?;
        let start = cloud.act(&machine, "start", "started")?;
        if round > 0 {
            resumes.add(resume, start);
            suspends.add(suspend, stop);
        }
    }
    resumes.print("resume", "start from stopped");
    suspends.print("suspend", "stop by SIGKILL");
    Ok(())
}
