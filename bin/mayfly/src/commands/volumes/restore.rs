use clap::Args;
use serde_json::json;

use super::{OneVolume, describe};
use crate::context::{Context, JsonFlag};

#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[command(flatten)]
    volume: OneVolume,
    #[command(flatten)]
    json: JsonFlag,
}

impl Restore {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let (app, id) = self.volume.find(context, &api).await?;
        let volume = api.restore_volume(&app, &id).await?;
        match self.json.json {
            true => Ok(context.out.json(&json!(volume))?),
            false => describe(context, &app, &volume),
        }
    }
}
