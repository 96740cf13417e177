//! `config`: an app's configuration, here and in the cloud.

mod env;
mod remote;
mod save;
mod schema;
mod show;
mod validate;

use clap::Subcommand;

use crate::context::Context;

pub(super) use validate::print_problems;

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Show the configuration of an app
    #[command(alias = "display")]
    Show(show::Show),
    /// Save the configuration of an app into a file here
    Save(save::Save),
    /// Check a configuration file, and look for likely mistakes
    Validate(validate::Validate),
    /// Show the variables an app's machines get
    Env(env::Env),
    /// Print the JSON schema of fly.toml, for editors
    Schema(schema::Schema),
}

impl ConfigCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            ConfigCommand::Show(command) => command.run(context).await,
            ConfigCommand::Save(command) => command.run(context).await,
            ConfigCommand::Validate(command) => command.run(context),
            ConfigCommand::Env(command) => command.run(context).await,
            ConfigCommand::Schema(command) => command.run(context),
        }
    }
}
