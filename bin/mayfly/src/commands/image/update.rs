use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::client::{Launch, Machine};
use crate::commands::machine::wait_until_started;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::output::{Progress, Table};

use super::{short_digest, text};

#[derive(Args, Debug)]
#[command(
    after_help = "Machines are changed one after the other; each must run and pass its checks before the next.\nFor an                         app that is deployed, `deploy --image` makes a release of it that can be rolled back.\n\n                        Examples:\n  image update --app my-db\n  image update --app my-db --image registry.fly.io/my-db:v2                         --yes"
)]
pub(crate) struct Update {
    #[command(flatten)]
    app: AppFlags,
    /// Image to run from now on; without it, what the tag of each machine's image stands for now
    #[arg(short, long)]
    image: Option<String>,
    /// Do not wait for the machines' checks
    #[arg(long)]
    skip_health_checks: bool,
    /// Seconds each machine may take to run again
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    wait_timeout: u64,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A machine, what it will run, and the digest of that.
struct Change<'a> {
    machine: &'a Machine,
    image: String,
    digest: String,
}

impl Update {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let machines = api.machines(&app, false).await?;
        let mut digests: BTreeMap<String, String> = BTreeMap::new();
        let mut changes = Vec::new();
        for machine in &machines {
            if !machine.is_reachable() {
                let id = machine.id();
                return Err(Failure::new(format!(
                    "machine {id} is on an unreachable host, try again later"
                ))
                .into());
            }
            let Some(image) = self.image.clone().or_else(|| machine.tagged_image()) else {
                context.out.note(&format!(
                    "Machine {} runs an image without a tag: name another one with --image.",
                    machine.id()
                ));
                continue;
            };
            let digest = match digests.get(&image) {
                Some(known) => known.clone(),
                None => {
                    let found = api.pull_image(&image, None).await?;
                    let digest = text(&found, "digest").to_owned();
                    digests.insert(image.clone(), digest.clone());
                    digest
                }
            };
            if text(machine.image_ref(), "digest") != digest {
                changes.push(Change {
                    machine,
                    image,
                    digest,
                });
            }
        }
        if changes.is_empty() {
            return Ok(context
                .out
                .line("Nothing to update: every machine runs the newest image")?);
        }
        if !self.yes && !confirm(context, &changes)? {
            return Ok(());
        }
        for change in &changes {
            let id = change.machine.id();
            let was_running = change.machine.state() == "started";
            let launch = change.launch(was_running);
            let mut progress = Progress::start(&context.out, &format!("Updating machine {id}"));
            let updated = api.update_machine(&app, id, &launch).await;
            let updated = updated.with_context(|| format!("could not update machine {id}"))?;
            let patience = Duration::from_secs(self.wait_timeout);
            if was_running {
                let checks = !self.skip_health_checks;
                wait_until_started(&api, &app, &updated, patience, checks, &mut progress).await?;
            } else {
                api.wait_for(&app, id, &["settled"], patience).await?;
            }
            drop(progress);
            context
                .out
                .line(&format!("Machine {id} runs {}", change.image))?;
        }
        Ok(())
    }
}

impl Change<'_> {
    /// The machine as it is, with the other image; one that rests goes on resting.
    fn launch(&self, was_running: bool) -> Launch {
        let mut config = self.machine.config_copy();
        config.insert("image".to_owned(), Value::from(self.image.as_str()));
        Launch {
            name: Some(self.machine.name().to_owned()),
            region: Some(self.machine.region().to_owned()),
            skip_launch: !was_running,
            current_version: Some(self.machine.instance_id().to_owned()),
            config,
        }
    }
}

fn confirm(context: &Context, changes: &[Change<'_>]) -> anyhow::Result<bool> {
    let mut table = Table::new(&["Machine ID", "Runs", "Will run"]);
    for change in changes {
        let now = short_digest(text(change.machine.image_ref(), "digest"));
        let then = format!("{} ({})", change.image, short_digest(&change.digest));
        table.row([change.machine.id(), now, &then]);
    }
    table.print(&context.out)?;
    context.out.confirm("Update these machines?")
}
