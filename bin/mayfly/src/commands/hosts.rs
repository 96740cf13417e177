mod change;
mod list;
mod show;
mod token;

use clap::Subcommand;

use crate::context::Context;

#[derive(Subcommand, Debug)]
pub(crate) enum HostsCommand {
    /// Give a host no new machines
    Cordon(change::Cordon),
    /// Cordon a host and stop the machines that others of their app stand in for
    Drain(change::Drain),
    /// List the hosts of this cloud
    #[command(alias = "ls")]
    List(list::List),
    /// Take a host out of this cloud for good
    Remove(change::Remove),
    /// Show a host
    Show(show::Show),
    /// Print a token by which one server may join this cloud
    Token(token::Token),
    /// Give a host new machines again
    Uncordon(change::Uncordon),
}

impl HostsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            HostsCommand::Cordon(command) => command.run(context).await,
            HostsCommand::Drain(command) => command.run(context).await,
            HostsCommand::List(command) => command.run(context).await,
            HostsCommand::Remove(command) => command.run(context).await,
            HostsCommand::Show(command) => command.run(context).await,
            HostsCommand::Token(command) => command.run(context).await,
            HostsCommand::Uncordon(command) => command.run(context).await,
        }
    }
}
