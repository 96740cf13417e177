use clap::Args;

use crate::context::Context;

use super::select::SomeMachines;

#[derive(Args, Debug)]
pub(crate) struct Cordon {
    #[command(flatten)]
    machines: SomeMachines,
}

#[derive(Args, Debug)]
pub(crate) struct Uncordon {
    #[command(flatten)]
    machines: SomeMachines,
}

impl Cordon {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        apply(context, &self.machines, "cordon", "Activating").await
    }
}

impl Uncordon {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        apply(context, &self.machines, "uncordon", "Deactivating").await
    }
}

async fn apply(
    context: &Context,
    machines: &SomeMachines,
    verb: &str,
    doing: &str,
) -> anyhow::Result<()> {
    let api = context.api()?;
    for selected in machines.select(context, &api).await? {
        let id = selected.machine.id();
        context
            .out
            .note(&format!("{doing} cordon on machine {id}..."));
        api.machine_verb(&selected.app, id, verb).await?;
        context.out.line("done!")?;
    }
    Ok(())
}
