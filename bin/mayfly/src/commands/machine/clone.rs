use std::time::Duration;

use clap::{ArgAction, Args};
use mayfly_wire::{AppVolume, CreateVolume};
use serde_json::{Value, json};

use crate::client::{Api, Launch, Machine};
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{MachineConfig, SizeFlags, set_command, set_standbys, words};
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
    /// Volume for the new machine instead of a new one, and where it is mounted (default: as in the original)
    #[arg(long, value_name = "VOLUME[:PATH]")]
    attach_volume: Option<String>,
    /// Prefer a host without a volume of the same name for the new volume
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    volume_requires_unique_zone: bool,
    /// Fill the new volume from this snapshot
    #[arg(long, hide = true, value_name = "ID")]
    from_snapshot: Option<String>,
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
        if self.from_snapshot.is_some() {
            return Err(Failure::new(
                "--from-snapshot: this cloud makes no snapshots of volumes yet",
            )
            .remedy("Without it, the new machine gets an empty volume.")
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
        let volume = self
            .volume(context, &api, app, source, region, &mut config)
            .await?;
        let launch = Launch {
            name: self.name.clone(),
            region: Some(region.to_owned()),
            skip_launch: config.contains_key("standbys"),
            current_version: None,
            config,
        };
        let mut progress = Progress::start(&context.out, "Provisioning a new Machine...");
        let created = match api.create_machine(app, &launch).await {
            Ok(created) => created,
            Err(error) => {
                // Nobody asked for the volume but this machine.
                if let Some(volume) = volume {
                    let _ = api.destroy_volume(app, &volume.id).await;
                }
                return Err(error.into());
            }
        };
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
    /// Gives the copy a volume of its own: the one that was named, or a new one as large as the original's. Returns the one
    /// it made.
    async fn volume(
        &self,
        context: &Context,
        api: &Api,
        app: &str,
        source: &Machine,
        region: &str,
        config: &mut MachineConfig,
    ) -> anyhow::Result<Option<AppVolume>> {
        let mounted = source.volume();
        if let Some(given) = &self.attach_volume {
            let (volume, path) = match given.split_once(':') {
                Some((volume, path)) => (volume, path),
                None if mounted.is_empty() => {
                    return Err(Failure::new(
                        "--attach-volume: says not where the volume is mounted",
                    )
                    .remedy("Say it as in --attach-volume vol_abc:/data.")
                    .into());
                }
                None => (given.as_str(), source.mount_path()),
            };
            config.insert(
                "mounts".to_owned(),
                json!([{ "volume": volume, "path": path }]),
            );
            return Ok(None);
        }
        if mounted.is_empty() {
            return Ok(None);
        }
        let original = api.volume(app, mounted).await?;
        context
            .out
            .note(&format!("Volume '{}' will start empty", original.name));
        let wanted = CreateVolume {
            name: Some(original.name),
            region: Some(region.to_owned()),
            size_gb: Some(i64::from(original.size_gb)),
            fstype: Some(original.fstype).filter(|kind| !kind.is_empty()),
            snapshot_retention: Some(original.snapshot_retention),
            auto_backup_enabled: Some(original.auto_backup_enabled),
            require_unique_zone: Some(self.volume_requires_unique_zone),
            ..CreateVolume::default()
        };
        let made = api.create_volume(app, &wanted).await?;
        if let Some(mount) = config
            .get_mut("mounts")
            .and_then(|mounts| mounts.get_mut(0))
        {
            mount["volume"] = Value::from(made.id.as_str());
        }
        Ok(Some(made))
    }
}
