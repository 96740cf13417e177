use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::client::{Api, Machine};
use crate::context::Context;
use crate::failure::Failure;

use super::select::{Selected, SomeMachines};

/// How long to wait for a machine to be gone; the cloud goes on without us.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
#[command(after_help = "A machine has to be stopped or suspended, unless --force is given.")]
pub(crate) struct Destroy {
    #[command(flatten)]
    machines: SomeMachines,
    /// Kill and destroy the machine whatever its state
    #[arg(short, long)]
    force: bool,
    /// Destroy all machines of the app that run this image
    #[arg(short, long, value_name = "IMAGE", conflicts_with = "ids")]
    image: Option<String>,
    /// Do not ask before destroying by image
    #[arg(short, long)]
    yes: bool,
}

impl Destroy {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let chosen = match &self.image {
            Some(image) => self.by_image(context, &api, image).await?,
            None => self.machines.select(context, &api).await?,
        };
        if chosen.is_empty() {
            return Ok(context.out.line("No machine to destroy, exiting")?);
        }
        for Selected { app, machine } in &chosen {
            self.check(machine)?;
            let (id, state) = (machine.id(), machine.state());
            context.out.note(&format!(
                "machine {id} was found and is currently in {state} state, attempting to destroy..."
            ));
            let destroyed = api.destroy_machine(app, id, self.force).await;
            destroyed.with_context(|| format!("could not destroy machine {id}"))?;
            match api.wait_for(app, id, &["destroyed"], PATIENCE).await {
                Err(error) if error.status() == Some(408) => {
                    context.out.line(&format!("{id} is being destroyed"))?;
                }
                // Forgotten already is destroyed too.
                Err(error) if error.status() != Some(404) => return Err(error.into()),
                _ => context.out.line(&format!("{id} has been destroyed"))?,
            }
        }
        Ok(())
    }

    async fn by_image(
        &self,
        context: &Context,
        api: &Api,
        image: &str,
    ) -> anyhow::Result<Vec<Selected>> {
        let app = self.machines.app.require()?;
        let machines = api.machines(&app, false).await?;
        let matching: Vec<Selected> = machines
            .into_iter()
            .filter(|machine| {
                machine.is_active()
                    && (machine.image() == image || machine.full_image().as_deref() == Some(image))
            })
            .map(|machine| Selected {
                app: app.clone(),
                machine,
            })
            .collect();
        let ids: Vec<&str> = matching
            .iter()
            .map(|selected| selected.machine.id())
            .collect();
        let question = format!(
            "{} Machines ({}) will be destroyed, continue?",
            ids.len(),
            ids.join(",")
        );
        let go = ids.is_empty() || self.yes || context.out.confirm(&question)?;
        Ok(if go { matching } else { Vec::new() })
    }

    /// What the server would refuse, in words that name the flag.
    fn check(&self, machine: &Machine) -> anyhow::Result<()> {
        let id = machine.id();
        match machine.state() {
            "destroyed" => bail!("machine {id} has already been destroyed"),
            "stopped" | "suspended" => Ok(()),
            _ if self.force => Ok(()),
            "started" => Err(Failure::new(format!(
                "machine {id} currently started, either stop first or use --force flag"
            ))
            .into()),
            state => Err(Failure::new(format!(
                "machine {id} is in a {state} state and cannot be destroyed since it is not stopped or suspended, \
                 either stop first or use --force flag"
            ))
            .into()),
        }
    }
}
