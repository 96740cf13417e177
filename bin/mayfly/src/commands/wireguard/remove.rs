use clap::Args;

use crate::context::{Context, chosen_org};

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    /// Name of the peer
    name: Option<String>,
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = chosen_org(context, &api, self.org, "ORG").await?;
        let name = super::peer(context, &api, &org, self.name).await?;
        api.remove_wireguard_peer(&org, &name).await?;
        let line = format!("Removed WireGuard peer \"{name}\" of organization {org}.");
        Ok(context.out.line(&line)?)
    }
}
