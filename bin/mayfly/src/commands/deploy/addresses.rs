//! The addresses that an app is given when it is deployed.

use clap::Args;

use crate::client::AllocateIp;
use crate::context::Context;

#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct AddressFlags {
    /// Give the app a private address instead, at which other apps of its network reach it as APP.flycast
    #[arg(long)]
    flycast: bool,
    /// Give the app no public addresses at its first deployment
    #[arg(long)]
    no_public_ips: bool,
}

impl AddressFlags {
    /// Gives the app what it should have before it is deployed; `public` if that is public addresses.
    pub(super) async fn allocate(
        self,
        context: &Context,
        app: &str,
        public: bool,
    ) -> anyhow::Result<()> {
        match self.flycast {
            true => private_ip(context, app).await,
            false if public && !self.no_public_ips => public_ips(context, app).await,
            false => Ok(()),
        }
    }
}

/// Public ones, if it has none (<https://fly.io/docs/networking/services/#public-ip-addresses>). It is reached by its name
/// without them, so a cloud that has none to give is no obstacle.
async fn public_ips(context: &Context, app: &str) -> anyhow::Result<()> {
    let api = context.api()?;
    if !api.ips(app).await?.is_empty() {
        return Ok(());
    }
    match api.allocate_recommended_ips(app, None).await {
        Ok(ips) => {
            for ip in ips {
                let kind = match ip.kind() {
                    "v6" => "dedicated IPv6",
                    _ => "shared IPv4",
                };
                context
                    .out
                    .note(&format!("Allocated {} for {app}: {kind}", ip.address()));
            }
        }
        Err(error) => context
            .out
            .note(&format!("Note: {app} is reached by its name only: {error}")),
    }
    Ok(())
}

/// One for the app's network, if it has none.
async fn private_ip(context: &Context, app: &str) -> anyhow::Result<()> {
    let api = context.api()?;
    let had = api.ips(app).await?;
    if had.iter().any(|ip| ip.kind() == "private_v6") {
        return Ok(());
    }
    let wanted = AllocateIp {
        kind: "private_v6",
        ..AllocateIp::default()
    };
    let ip = api.allocate_ip(app, wanted).await?;
    let line = format!("Allocated {} for {app}.flycast", ip.address());
    context.out.note(&line);
    Ok(())
}
