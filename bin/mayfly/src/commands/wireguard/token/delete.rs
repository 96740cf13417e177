use clap::Args;

use crate::context::{Context, chosen_org};

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Name of the token, also as `name:NAME`
    name: Option<String>,
}

impl Delete {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let name = match self.name {
            Some(name) => name,
            None => context.out.ask("Name of the token:", "NAME")?,
        };
        let name = name.strip_prefix("name:").unwrap_or(&name);
        api.delete_wireguard_token(&org, name).await?;
        let line = format!("Deleted WireGuard token \"{name}\" of organization {org}.");
        Ok(context.out.line(&line)?)
    }
}
