mod create;
mod destroy;
mod list;
pub(crate) mod open;
mod relocate;
mod restart;
mod ttl;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;

pub(crate) use list::document as list_document;
pub(crate) use ttl::lifetime;

#[derive(Subcommand, Debug)]
pub(crate) enum AppsCommand {
    /// Create an app
    Create(create::Create),
    /// List apps
    #[command(alias = "ls")]
    List(list::List),
    /// Destroy apps and everything they own
    #[command(visible_aliases = ["delete", "remove", "rm"])]
    Destroy(destroy::Destroy),
    /// Move an app to another organization
    Move(relocate::Move),
    /// Open an app in the browser
    Open(open::Open),
    /// List the releases of an app
    Releases(super::releases::List),
    /// Restart the running machines of an app, one after another
    Restart(restart::Restart),
    /// Let an app go by itself after some time
    Ttl(ttl::Ttl),
}

impl AppsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            AppsCommand::Create(command) => command.run(context).await?,
            AppsCommand::List(command) => command.run(context).await?,
            AppsCommand::Destroy(command) => command.run(context).await?,
            AppsCommand::Move(command) => return command.run(context).await,
            AppsCommand::Open(command) => command.run(context).await?,
            AppsCommand::Releases(command) => command.run(context).await?,
            AppsCommand::Restart(command) => command.run(context).await?,
            AppsCommand::Ttl(command) => command.run(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
