//! `releases`: what an app was, and the way back.

mod diff;
mod list;
mod rollback;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::context::Context;

pub(super) use list::List;

/// Without a subcommand, the list.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReleasesCommand {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the releases of an app
    #[command(alias = "ls")]
    List(List),
    /// Show one release with its configuration
    Show(show::Show),
    /// Show what changed from one release to another
    Diff(diff::Diff),
    /// Deploy an earlier release again: its image, configuration and secrets
    Rollback(rollback::Rollback),
}

impl ReleasesCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.command {
            None => self.list.run(context).await?,
            Some(Command::List(command)) => command.run(context).await?,
            Some(Command::Show(command)) => command.run(context).await?,
            Some(Command::Diff(command)) => command.run(context).await?,
            Some(Command::Rollback(command)) => return command.run(context).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `3` or `v3`.
fn version(text: &str) -> Result<i64, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    match number.parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err("a release is a number such as 3 or v3".to_owned()),
    }
}
