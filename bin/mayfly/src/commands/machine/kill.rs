use anyhow::{Context as _, bail};
use clap::Args;

use crate::context::Context;

use super::select::OneMachine;

#[derive(Args, Debug)]
pub(crate) struct Kill {
    #[command(flatten)]
    machine: OneMachine,
}

impl Kill {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let selected = self.machine.select(context, &api).await?;
        let (app, id, state) = (
            &selected.app,
            selected.machine.id(),
            selected.machine.state(),
        );
        if state == "destroyed" {
            bail!("machine {id} has already been destroyed");
        }
        context.out.note(&format!(
            "machine {id} was found and is currently in a {state} state, attempting to kill..."
        ));
        let asked = api.signal_machine(app, id, "SIGKILL").await;
        asked.with_context(|| format!("could not kill machine {id}"))?;
        Ok(context.out.line("kill signal has been sent")?)
    }
}
