use clap::Args;

use super::list::print;
use crate::client::AllocateIp;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(crate) struct Allocate {
    #[command(flatten)]
    app: AppFlags,
    /// Region that announces the IPv6 address; all of them otherwise
    #[arg(short, long, value_name = "CODE")]
    region: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct AllocateV4 {
    #[command(flatten)]
    app: AppFlags,
    /// Take the address that apps share, told apart by host name
    #[arg(long)]
    shared: bool,
    /// Region that announces the address; all of them otherwise
    #[arg(short, long, value_name = "CODE", conflicts_with = "shared")]
    region: Option<String>,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AllocateV6 {
    #[command(flatten)]
    app: AppFlags,
    /// Take a private address (Flycast), reached by the machines of one network
    #[arg(long)]
    private: bool,
    /// Network that reaches the private address; the app's own otherwise
    #[arg(long, value_name = "NAME", requires = "private")]
    network: Option<String>,
    /// Organization of that network
    #[arg(short, long, value_name = "SLUG", requires = "private")]
    org: Option<String>,
    /// Region that announces the address; all of them otherwise
    #[arg(short, long, value_name = "CODE", conflicts_with = "private")]
    region: Option<String>,
}

impl Allocate {
    /// What the app has already is not allocated again.
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let made = api.allocate_recommended_ips(&app, self.region).await?;
        if made.is_empty() {
            return Ok(context
                .out
                .line(&format!("App {app} has the recommended addresses already."))?);
        }
        print(context, &made)
    }
}

impl AllocateV4 {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let kind = if self.shared { "shared_v4" } else { "v4" };
        // A dedicated address is scarce; who wants the shared one need not be asked.
        if !self.shared && !self.yes && context.out.can_ask() {
            let question = "A dedicated IPv4 address is taken from this cloud's pool. Allocate it?";
            if !context.out.confirm(question)? {
                return Ok(());
            }
        }
        let wanted = AllocateIp {
            kind,
            region: self.region,
            ..AllocateIp::default()
        };
        let made = context.api()?.allocate_ip(&app, wanted).await?;
        print(context, &[made])
    }
}

impl AllocateV6 {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let wanted = AllocateIp {
            kind: if self.private { "private_v6" } else { "v6" },
            region: self.region,
            org: self.org,
            network: self.network,
        };
        let made = context.api()?.allocate_ip(&app, wanted).await?;
        print(context, &[made])
    }
}
