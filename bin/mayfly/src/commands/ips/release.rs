use clap::Args;

use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(crate) struct Release {
    #[command(flatten)]
    app: AppFlags,
    /// Addresses to release
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
}

impl Release {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        for address in &self.addresses {
            api.release_ip(&app, address).await?;
            context
                .out
                .line(&format!("Released {address} from {app}"))?;
        }
        if api.ips(&app).await?.is_empty() {
            context.out.note(&format!(
                "App {app} has no address any more; allocate one with `ips allocate`."
            ));
        }
        Ok(())
    }
}
