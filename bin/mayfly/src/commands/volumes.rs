mod create;
mod destroy;
mod extend;
mod list;
mod restore;
mod show;
mod snapshots;
mod update;

use clap::{Args, Subcommand};
use mayfly_types::Timestamp;
use mayfly_wire::AppVolume;

use crate::client::Api;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;

#[derive(Subcommand, Debug)]
pub(crate) enum VolumesCommand {
    /// Create a volume: disk space on one host that outlives machines
    Create(create::Create),
    /// List the volumes of an app
    #[command(alias = "ls")]
    List(list::List),
    /// Show one volume
    #[command(alias = "get")]
    Show(show::Show),
    /// Make a volume larger; machines that run with it see it grow
    Extend(extend::Extend),
    /// Change what becomes of a volume's snapshots
    Update(update::Update),
    /// Destroy volumes
    #[command(aliases = ["delete", "rm"])]
    Destroy(destroy::Destroy),
    /// Take back a volume that was destroyed within the last day
    Restore(restore::Restore),
    /// Copy a volume (not possible yet)
    #[command(hide = true)]
    Fork(Fork),
    /// Manage snapshots of volumes (this cloud makes none yet)
    #[command(subcommand, alias = "snapshot")]
    Snapshots(snapshots::SnapshotsCommand),
}

impl VolumesCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            VolumesCommand::Create(command) => command.run(context).await,
            VolumesCommand::List(command) => command.run(context).await,
            VolumesCommand::Show(command) => command.run(context).await,
            VolumesCommand::Extend(command) => command.run(context).await,
            VolumesCommand::Update(command) => command.run(context).await,
            VolumesCommand::Destroy(command) => command.run(context).await,
            VolumesCommand::Restore(command) => command.run(context).await,
            VolumesCommand::Fork(_) => {
                Err(Failure::new("this cloud makes no copies of volumes yet")
                    .remedy("Create a volume, and copy the files with `ssh sftp`.")
                    .into())
            }
            VolumesCommand::Snapshots(command) => command.run(context).await,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Fork {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<String>,
}

/// The volume a command is about, and the app it is of.
#[derive(Args, Debug)]
struct OneVolume {
    /// Id of the volume
    #[arg(value_name = "VOLUME")]
    id: Option<String>,
    #[command(flatten)]
    app: AppFlags,
}

impl OneVolume {
    /// App and id. Without an app it is looked for; without an id one of the app's is chosen.
    async fn find(&self, context: &Context, api: &Api) -> anyhow::Result<(String, String)> {
        let app = self.app.find()?;
        match (&self.id, app) {
            (Some(id), Some(app)) => Ok((app, id.clone())),
            (Some(id), None) => Ok((app_of(api, id).await?, id.clone())),
            (None, _) => {
                let app = self.app.require()?;
                let mut volumes = api.volumes(&app).await?;
                volumes.retain(is_usable);
                anyhow::ensure!(!volumes.is_empty(), "app {app} has no volumes");
                let lines: Vec<String> = volumes
                    .iter()
                    .map(|one| format!("{} {} {}GB {}", one.id, one.name, one.size_gb, one.region))
                    .collect();
                let chosen = context.out.choose("Volume", &lines, "VOLUME")?;
                Ok((app, volumes[chosen].id.clone()))
            }
        }
    }
}

async fn app_of(api: &Api, id: &str) -> anyhow::Result<String> {
    let app = api.app_of_volume(id).await?;
    app.ok_or_else(|| Failure::new(format!("volume {id} was not found")).into())
}

/// Whether a volume is shown without `--all`.
fn is_usable(volume: &AppVolume) -> bool {
    !matches!(
        volume.state.as_str(),
        "scheduling_destroy"
            | "fork_cleanup"
            | "waiting_for_detach"
            | "pending_destroy"
            | "destroying"
    )
}

/// A volume as upstream prints it.
fn describe(context: &Context, app: &str, volume: &AppVolume) -> anyhow::Result<()> {
    let machine = volume.attached_machine_id.as_deref().unwrap_or_default();
    let used = match volume.blocks {
        0 => String::new(),
        blocks => {
            let used = (blocks - volume.blocks_free.min(blocks)) * volume.block_size;
            format!(
                "{} of {} MiB",
                used >> 20,
                (blocks * volume.block_size) >> 20
            )
        }
    };
    let created_at = volume.created_at.map(date).unwrap_or_default();
    let destroyed_at = volume.destroy_at.map(date).unwrap_or_default();
    let pairs = [
        ("ID", volume.id.clone()),
        ("Name", volume.name.clone()),
        ("App", app.to_owned()),
        ("State", volume.state.clone()),
        ("Region", volume.region.clone()),
        ("Zone", volume.zone.clone()),
        ("Size GB", volume.size_gb.to_string()),
        ("Used", used),
        ("Encrypted", volume.encrypted.to_string()),
        ("Attached VM", machine.to_owned()),
        ("Created at", created_at),
        ("Data goes at", destroyed_at),
        ("Snapshot retention", volume.snapshot_retention.to_string()),
        (
            "Scheduled snapshots",
            volume.auto_backup_enabled.to_string(),
        ),
    ];
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    let text: String = shown
        .map(|(name, value)| format!("{name:>20}: {value}\n"))
        .collect();
    Ok(context.out.text(&text)?)
}

fn date(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map(|time| time.strftime("%d %b %y %H:%M UTC").to_string())
        .unwrap_or_else(|_| at.to_string())
}
