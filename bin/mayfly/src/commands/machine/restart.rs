use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::client::{Api, Machine, Stop};
use crate::context::Context;
use crate::machine_config::signal_name;
use crate::output::Progress;

use super::select::SomeMachines;
use super::wait_until_started;

/// For a machine to end, start, and pass its checks.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Args, Debug)]
pub(crate) struct Restart {
    #[command(flatten)]
    machines: SomeMachines,
    /// Signal that asks the program to end (default: the machine's own, else SIGINT)
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds the program may take to end before it is killed
    #[arg(long, alias = "timeout", value_name = "SECONDS")]
    time: Option<u32>,
    /// Kill the program instead of asking it to end
    #[arg(long)]
    force: bool,
    /// Do not wait for the machine's checks
    #[arg(long)]
    skip_health_checks: bool,
}

impl Restart {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let stop = Stop {
            signal: self.signal.as_deref().map(signal_name),
            timeout_s: self.time,
        };
        for selected in self.machines.select(context, &api).await? {
            let (app, machine) = (&selected.app, &selected.machine);
            restart(
                context,
                &api,
                app,
                machine,
                &stop,
                self.force,
                !self.skip_health_checks,
            )
            .await
            .with_context(|| format!("could not restart machine {}", machine.id()))?;
        }
        Ok(())
    }
}

/// Restarts one machine and waits until it has started again; with `checks`, until they pass.
pub(crate) async fn restart(
    context: &Context,
    api: &Api,
    app: &str,
    machine: &Machine,
    stop: &Stop,
    force: bool,
    checks: bool,
) -> anyhow::Result<()> {
    let id = machine.id();
    let mut progress = Progress::start(&context.out, &format!("Restarting machine {id}"));
    api.restart_machine(app, id, stop, force).await?;
    wait_until_started(api, app, machine, PATIENCE, checks, &mut progress).await?;
    drop(progress);
    context
        .out
        .line(&format!("Machine {id} restarted successfully!"))?;
    Ok(())
}
