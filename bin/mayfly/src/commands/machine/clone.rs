use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::client::Launch;
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{SizeFlags, set_command, set_standbys, words};
use crate::output::Progress;

use super::select::OneMachine;
use super::wait_until_started;

#[derive(Args, Debug)]
pub(crate) struct Clone {
    #[command(flatten)]
    machine: OneMachine,
    /// Region of the new machine (default: that of the original)
    #[arg(short, long, value_name = "CODE")]
    region: Option<String>,
    /// Name of the new machine (default: one is made up)
    #[arg(long)]
    name: Option<String>,
    /// Arguments for the image's program, instead of the original's
    #[arg(long, value_name = "COMMAND")]
    override_cmd: Option<String>,
    /// Use the image's own arguments
    #[arg(long, conflicts_with = "override_cmd")]
    clear_cmd: bool,
    /// Do not destroy the new machine when its program ends, even if the original would be
    #[arg(long)]
    clear_auto_destroy: bool,
    /// Machines to stand by for, by id, separated by commas; `source` is the original
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    standby_for: Option<Vec<String>>,
    /// Return as soon as the machine exists
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    size: SizeFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Clone {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let selected = self.machine.select(context, &api).await?;
        let (app, source) = (&selected.app, &selected.machine);
        if !source.is_reachable() {
            return Err(
                Failure::new("the machine is on an unreachable host, try again later").into(),
            );
        }
        if !source.volume().is_empty() {
            return Err(Failure::new(format!(
                "machine {} has a volume, and this cloud has none to give",
                source.id()
            ))
            .remedy("Machines with volumes cannot be cloned yet.")
            .into());
        }
        let region = self.region.as_deref().unwrap_or(source.region());
        context.out.note(&format!(
            "Cloning Machine {} into region {region}",
            source.id()
        ));
        let mut config = source.config_copy();
        if let Some(image) = source
            .full_image()
            .filter(|_| !config.contains_key("containers"))
        {
            // The digest: the copy runs what the original runs, even if the tag has moved since.
            config.insert("image".to_owned(), image.into());
        }
        // What the load has made it may end; what a user asks for it may not.
        if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
            metadata.remove("mayfly_autoscaled");
        }
        self.size.apply(&mut config)?;
        if self.clear_cmd {
            set_command(&mut config, None);
        } else if let Some(command) = &self.override_cmd {
            set_command(&mut config, Some(words(command, "--override-cmd")?));
        }
        if self.clear_auto_destroy {
            config.remove("auto_destroy");
        }
        if let Some(primaries) = &self.standby_for {
            let named = primaries.iter().map(|id| match id.as_str() {
                "source" => source.id().to_owned(),
                _ => id.to_owned(),
            });
            set_standbys(&mut config, &named.collect::<Vec<_>>());
        }
        let launch = Launch {
            name: self.name,
            region: Some(region.to_owned()),
            skip_launch: config.contains_key("standbys"),
            current_version: None,
            config,
        };
        let mut progress = Progress::start(&context.out, "Provisioning a new Machine...");
        let created = api.create_machine(app, &launch).await?;
        let id = created.id();
        if !self.detach && !launch.skip_launch {
            progress.say(&format!("Waiting for Machine {id} to start..."));
            let patience = Duration::from_secs(300);
            wait_until_started(&api, app, &created, patience, true, &mut progress).await?;
        }
        drop(progress);
        if self.json.json {
            return Ok(context.out.json(api.machine(app, id).await?.document())?);
        }
        Ok(context
            .out
            .line(&format!("Machine {id} has been successfully cloned!"))?)
    }
}
