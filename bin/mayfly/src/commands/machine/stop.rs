use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::client;
use crate::context::Context;
use crate::machine_config::signal_name;
use crate::output::Progress;

use super::select::SomeMachines;
use super::wait::duration;

#[derive(Args, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    machines: SomeMachines,
    /// Signal that asks the program to end (default: the machine's own, else SIGINT)
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds the program may take to end before it is killed
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// How long to wait for each machine to be stopped, such as 30s (default: not at all)
    #[arg(short, long, value_parser = duration, value_name = "DURATION")]
    wait_timeout: Option<Duration>,
}

impl Stop {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let stop = client::Stop {
            signal: self.signal.as_deref().map(signal_name),
            timeout_s: self.timeout,
        };
        for selected in self.machines.select(context, &api).await? {
            let (app, id) = (&selected.app, selected.machine.id());
            let progress = Progress::start(
                &context.out,
                &format!("Sending kill signal to machine {id}..."),
            );
            let asked = api.stop_machine(app, id, &stop).await;
            asked.with_context(|| format!("could not stop machine {id}"))?;
            if let Some(patience) = self.wait_timeout.filter(|patience| !patience.is_zero()) {
                let stopped = api.wait_for(app, id, &["stopped"], patience).await;
                stopped.with_context(|| {
                    format!("machine {id} did not stop within the wait timeout")
                })?;
            }
            drop(progress);
            context
                .out
                .line(&format!("{id} has been successfully stopped"))?;
        }
        Ok(())
    }
}
