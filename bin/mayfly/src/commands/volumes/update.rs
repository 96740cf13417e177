use clap::{ArgAction, Args};
use mayfly_wire::UpdateVolume;
use serde_json::json;

use super::{OneVolume, describe};
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    volume: OneVolume,
    /// Days that snapshots are kept
    #[arg(long, value_name = "DAYS")]
    snapshot_retention: Option<i64>,
    /// Make snapshots every day (this cloud makes none yet)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    scheduled_snapshots: Option<bool>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Update {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let update = UpdateVolume {
            snapshot_retention: self.snapshot_retention,
            auto_backup_enabled: self.scheduled_snapshots,
        };
        if update == UpdateVolume::default() {
            return Err(Failure::new("nothing was named to change")
                .remedy("Use --snapshot-retention or --scheduled-snapshots.")
                .into());
        }
        let api = context.api()?;
        let (app, id) = self.volume.find(context, &api).await?;
        let volume = api.update_volume(&app, &id, &update).await?;
        match self.json.json {
            true => Ok(context.out.json(&json!(volume))?),
            false => describe(context, &app, &volume),
        }
    }
}
