use clap::Args;
use serde_json::json;

use super::remote;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct Env {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Env {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let config = remote::config(&api, &app).await?;
        let secrets = api.app_secrets(&app).await?.secrets;
        if self.json.json {
            let secrets: serde_json::Map<_, _> = secrets
                .into_iter()
                .map(|secret| (secret.name, json!(secret.digest)))
                .collect();
            let env: serde_json::Map<_, _> = config
                .env()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            return Ok(context
                .out
                .json(&json!({ "secrets": secrets, "env": env }))?);
        }
        let mut table = Table::new(&["Name", "Digest"]).title("Secrets");
        for secret in &secrets {
            table.row([&secret.name, &secret.digest]);
        }
        table.print(&context.out)?;
        let mut table = Table::new(&["Name", "Value"]).title("Environment variables");
        for (name, value) in config.env() {
            table.row([name, value]);
        }
        Ok(table.print(&context.out)?)
    }
}
