use clap::Args;
use serde_json::json;

use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
#[command(
    after_help = "Before a name, * says that no machine has the secret yet, and ! that some have it and others do not."
)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let set = context.api()?.app_secrets(&app).await?;
        let secrets = set.secrets;
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
            let sign = match secret.status.as_str() {
                "Staged" => "* ",
                "Partial" => "! ",
                _ => "",
            };
            table.row([
                &format!("{sign}{}", secret.name),
                &secret.digest,
                &at.unwrap_or_default(),
                &secret.status,
            ]);
        }
        table.print(&context.out)?;
        if set.machines_behind > 0 {
            let note = format!(
                "Not all machines have the newest secrets (version {}): `secrets deploy` gives them to all.",
                set.version
            );
            context.out.note(&note);
        }
        Ok(())
    }
}
