use clap::Args;
use serde_json::json;

use super::{OneVolume, describe};
use crate::context::{Context, JsonFlag};

#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    volume: OneVolume,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let (app, id) = self.volume.find(context, &api).await?;
        let volume = api.volume(&app, &id).await?;
        match self.json.json {
            true => Ok(context.out.json(&json!(volume))?),
            false => describe(context, &app, &volume),
        }
    }
}
