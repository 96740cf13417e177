use clap::Args;
use serde_json::json;

use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let secrets = context.api()?.app_secrets(&app).await?.secrets;
        if self.json.json {
            return Ok(context.out.json(&json!(secrets))?);
        }
        if secrets.is_empty() {
            return Ok(context.out.line(&format!("App {app} has no secrets"))?);
        }
        let mut table = Table::new(&["Name", "Digest", "Updated", "Status"]);
        for secret in &secrets {
            let at = secret.updated_at.parse();
            let at = at.map(|at| relative_time(at, context.now()));
            table.row([
                &secret.name,
                &secret.digest,
                &at.unwrap_or_default(),
                &secret.status,
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}
