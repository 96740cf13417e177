mod change;
mod drain;
mod list;
mod show;
mod token;

use clap::Subcommand;

use crate::context::Context;

#[derive(Subcommand, Debug)]
pub(crate) enum HostsCommand {
    /// Give a host no new machines
    Cordon(change::Cordon),
    /// Give a host no new machines and move those it has to other hosts
    Drain(drain::Drain),
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
    /// Stop draining a host and give it new machines again
    Undrain(drain::Undrain),
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
            HostsCommand::Undrain(command) => command.run(context).await,
        }
    }
}
