mod allocate;
mod egress;
mod list;
mod private;
mod release;

use clap::Subcommand;

use crate::context::Context;

#[derive(Subcommand, Debug)]
pub(crate) enum IpsCommand {
    /// List the addresses of an app
    #[command(alias = "ls")]
    List(list::List),
    /// Allocate the recommended addresses: a dedicated IPv6 and a shared IPv4
    Allocate(allocate::Allocate),
    /// Allocate an IPv4 address
    AllocateV4(allocate::AllocateV4),
    /// Allocate an IPv6 address
    AllocateV6(allocate::AllocateV6),
    /// Allocate a pair of addresses, IPv4 and IPv6, that machines of one region leave by
    AllocateEgress(egress::AllocateEgress),
    /// Release addresses that machines leave by
    ReleaseEgress(egress::ReleaseEgress),
    /// Release addresses of an app
    Release(release::Release),
    /// List the private addresses of an app's machines
    Private(private::Private),
}

impl IpsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            IpsCommand::List(command) => command.run(context).await,
            IpsCommand::Allocate(command) => command.run(context).await,
            IpsCommand::AllocateV4(command) => command.run(context).await,
            IpsCommand::AllocateV6(command) => command.run(context).await,
            IpsCommand::AllocateEgress(command) => command.run(context).await,
            IpsCommand::ReleaseEgress(command) => command.run(context).await,
            IpsCommand::Release(command) => command.run(context).await,
            IpsCommand::Private(command) => command.run(context).await,
        }
    }
}
