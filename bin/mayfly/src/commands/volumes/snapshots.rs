use clap::{Args, Subcommand};
use serde_json::Value;

use super::OneVolume;
use crate::context::{Context, JsonFlag};
use crate::output::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum SnapshotsCommand {
    /// List the snapshots of a volume
    #[command(alias = "ls")]
    List(List),
    /// Make a snapshot of a volume (not possible yet)
    Create(Create),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    volume: OneVolume,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    volume: OneVolume,
    #[command(flatten)]
    json: JsonFlag,
}

impl SnapshotsCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        match self {
            SnapshotsCommand::List(List { volume, json }) => {
                let (app, id) = volume.find(context, &api).await?;
                let snapshots = api.volume_snapshots(&app, &id).await?;
                if json.json {
                    return Ok(context.out.json(&Value::from(snapshots))?);
                }
                let headers = ["ID", "Status", "Size", "Created At", "Retention Days"];
                let table = Table::new(&headers);
                Ok(table.print(&context.out)?)
            }
            SnapshotsCommand::Create(Create { volume, .. }) => {
                let (app, id) = volume.find(context, &api).await?;
                Ok(api.create_volume_snapshot(&app, &id).await?)
            }
        }
    }
}
