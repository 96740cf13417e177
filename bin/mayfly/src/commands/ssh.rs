//! Into machines: shells, files, certificates.

pub(crate) mod console;
mod issue;
mod log;
pub(crate) mod sftp;
mod target;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;

pub(crate) use target::SshFlags;

#[derive(Subcommand, Debug)]
pub(crate) enum SshCommand {
    /// Open a shell in a machine, or run one command there
    Console(console::Console),
    /// Issue a certificate for use with any SSH client
    Issue(issue::Issue),
    /// Show the certificates issued and the sessions begun
    Log(log::Log),
    /// Copy files from and to a machine
    #[command(subcommand)]
    Sftp(sftp::SftpCommand),
}

impl SshCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            SshCommand::Console(command) => return command.run(context).await,
            SshCommand::Issue(command) => command.run(context).await?,
            SshCommand::Log(command) => command.run(context).await?,
            SshCommand::Sftp(command) => command.run(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
