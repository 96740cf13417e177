use clap::Args;
use serde_json::json;

use super::version;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(super) struct Show {
    /// The release, as 3 or v3
    #[arg(value_parser = version)]
    version: i64,
    #[command(flatten)]
    app: AppFlags,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let release = context.api()?.release(&app, self.version).await?;
        Ok(context.out.json(&json!(release))?)
    }
}
