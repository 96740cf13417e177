use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mayfly_wire::{CreateRelease, GoDuration};
use serde_json::Value;

use crate::client::{Launch, Machine};
use crate::commands::deploy::follow_recorded;
use crate::commands::machine::wait_until_started;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::output::{Progress, Table};

use super::{short_digest, text};

#[derive(Args, Debug)]
#[command(
    after_help = "Machines that deployments look after get the image as a release, which can be followed and rolled back; others\nare changed one after the other, each has to run and pass its checks before the next.\n\nExamples:\n  image update --app my-db\n  \
                  image update --app my-db --image registry.fly.io/my-db:v2 --yes"
)]
pub(crate) struct Update {
    #[command(flatten)]
    app: AppFlags,
    /// Image to run from now on; without it, what the tag of each machine's image stands for now
    #[arg(short, long)]
    image: Option<String>,
    /// Do not wait for the machines' checks; a release changes all machines at once then
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
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
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
                .line("Nothing to update: every machine runs the newest image")
                .map(|()| ExitCode::SUCCESS)?);
        }
        if !self.yes && !confirm(context, &changes)? {
            return Ok(ExitCode::SUCCESS);
        }
        let (deployed, alone): (Vec<&Change<'_>>, Vec<&Change<'_>>) = changes
            .iter()
            .partition(|change| is_deployed(change.machine));
        if !deployed.is_empty() {
            let end = self.release(context, &app, &deployed).await?;
            if end != ExitCode::SUCCESS {
                return Ok(end);
            }
        }
        for change in alone {
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
        Ok(ExitCode::SUCCESS)
    }

    /// The new image for all machines that deployments look after.
    async fn release(
        &self,
        context: &Context,
        app: &str,
        changes: &[&Change<'_>],
    ) -> anyhow::Result<ExitCode> {
        let mut images = changes.iter().map(|change| change.image.as_str());
        let image = images.next().unwrap_or_default();
        if let Some(other) = images.find(|other| *other != image) {
            return Err(Failure::new(format!(
                "the app's machines run different images, {image} and {other}: a release has one"
            ))
            .remedy("Name it with --image.")
            .into());
        }
        let wanted = CreateRelease {
            image: Some(image.to_owned()),
            keep_config: Some(true),
            strategy: self.skip_health_checks.then(|| "immediate".to_owned()),
            wait_timeout: Some(GoDuration(Duration::from_secs(self.wait_timeout))),
            description: Some(format!("Image {image}")),
            ..CreateRelease::default()
        };
        let release = context.api()?.create_release(app, &wanted).await?;
        let version = release.version;
        context
            .out
            .line(&format!("Image {image} is release v{version}"))?;
        follow_recorded(context, app, &release, false).await
    }
}

/// Whether deployments look after the machine; those of commands and tests are their own.
fn is_deployed(machine: &Machine) -> bool {
    machine.is_managed() && !machine.process_group().starts_with("fly_app_")
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
