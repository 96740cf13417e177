use clap::Args;
use serde_json::Value;

use crate::context::{Context, JsonFlag, chosen_org};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let tokens = api.wireguard_tokens(&org).await?;
        if self.json.json {
            return Ok(context.out.json(&Value::from(tokens))?);
        }
        let mut table = Table::new(&["Name", "Created At"]);
        let text = |token: &Value, key: &str| token[key].as_str().unwrap_or_default().to_owned();
        for token in &tokens {
            table.row([&*text(token, "name"), &*text(token, "created_at")]);
        }
        Ok(table.print(&context.out)?)
    }
}
