use clap::Args;

use super::list::print;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(crate) struct AllocateEgress {
    #[command(flatten)]
    app: AppFlags,
    /// Region whose machines leave by the addresses
    #[arg(short, long, value_name = "CODE", required = true)]
    region: String,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReleaseEgress {
    #[command(flatten)]
    app: AppFlags,
    /// Addresses to release
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

impl AllocateEgress {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        if !self.yes && context.out.can_ask() {
            let question = format!(
                "A pair of addresses is taken from this cloud's pools for machines of {app} in {}. Allocate it?",
                self.region
            );
            if !context.out.confirm(&question)? {
                return Ok(());
            }
        }
        let made = context.api()?.allocate_egress(&app, &self.region).await?;
        print(context, &made)
    }
}

impl ReleaseEgress {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let had = api.ips(&app).await?;
        for address in &self.addresses {
            let known = had.iter().find(|ip| ip.address() == address);
            if known.is_some_and(|ip| !ip.kind().starts_with("egress_")) {
                context.out.note(&format!(
                    "{address} is not an egress address; `ips release` releases it."
                ));
                continue;
            }
            api.release_ip(&app, address).await?;
            context
                .out
                .line(&format!("Released {address} from {app}"))?;
        }
        Ok(())
    }
}
