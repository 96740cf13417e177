//! `secrets`: values that only an app's machines get to see.

mod change;
mod list;
mod pairs;
mod sync;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::context::{AppFlags, Context};

/// Setting a secret restarts the app's machines with it, as a release; `--stage` leaves that to the next deploy.
#[derive(Subcommand, Debug)]
pub(crate) enum SecretsCommand {
    /// Set secrets: NAME=VALUE, or NAME=- to read the value from stdin
    Set(change::Set),
    /// Set secrets from lines NAME=VALUE on stdin
    Import(change::Import),
    /// Remove secrets
    #[command(alias = "rm")]
    Unset(change::Unset),
    /// List names and digests; values are never shown
    #[command(alias = "ls")]
    List(list::List),
    /// Give staged secrets to the machines
    Deploy(change::DeployStaged),
    /// See that all machines have the newest secrets, wherever those were set
    Sync(sync::Sync),
}

/// What becomes of machines when secrets change.
#[derive(Args, Debug)]
struct Reach {
    #[command(flatten)]
    app: AppFlags,
    /// Leave machines as they are until the next deploy
    #[arg(long)]
    stage: bool,
    #[command(flatten)]
    following: Following,
}

/// How long the command line stays.
#[derive(Args, Debug)]
struct Following {
    /// Return once the release is recorded
    #[arg(long)]
    detach: bool,
    /// Accepted for compatibility: a release needs no DNS
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dns_checks: Option<bool>,
}

impl SecretsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            SecretsCommand::Set(command) => command.run(context).await,
            SecretsCommand::Import(command) => command.run(context).await,
            SecretsCommand::Unset(command) => command.run(context).await,
            SecretsCommand::Deploy(command) => command.run(context).await,
            SecretsCommand::Sync(command) => command.run(context).await,
            SecretsCommand::List(command) => {
                command.run(context).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
