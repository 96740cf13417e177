use clap::Args;

use crate::context::{Context, JsonFlag, chosen_org};

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Name of the token, of letters, digits and dashes
    name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let name = match self.name {
            Some(name) => name,
            None => context.out.ask("Name of the token:", "NAME")?,
        };
        let created = api.create_wireguard_token(&org, &name).await?;
        if self.json.json {
            return Ok(context.out.json(&created)?);
        }
        context.out.note(&format!(
            "Created WireGuard token \"{name}\" of organization {org}. It is shown this once; programs take it from {}.",
            super::TOKEN_VARIABLE
        ));
        Ok(context
            .out
            .line(created["token"].as_str().unwrap_or_default())?)
    }
}
