use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::context::Context;

use super::select::SomeMachines;
use super::wait::duration;

#[derive(Args, Debug)]
pub(crate) struct Suspend {
    #[command(flatten)]
    machines: SomeMachines,
    /// How long to wait for each machine to be suspended, such as 30s (default: not at all)
    #[arg(short, long, value_parser = duration, value_name = "DURATION")]
    wait_timeout: Option<Duration>,
}

impl Suspend {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        for selected in self.machines.select(context, &api).await? {
            let (app, id) = (&selected.app, selected.machine.id());
            let asked = api.machine_verb(app, id, "suspend").await;
            asked.with_context(|| format!("could not suspend machine {id}"))?;
            let Some(patience) = self.wait_timeout.filter(|patience| !patience.is_zero()) else {
                context.out.line(&format!("{id} is being suspended"))?;
                continue;
            };
            let suspended = api.wait_for(app, id, &["suspended"], patience).await;
            suspended.with_context(|| {
                format!("machine {id} was not suspended within the wait timeout")
            })?;
            context.out.line(&format!("{id} has been suspended"))?;
        }
        Ok(())
    }
}
