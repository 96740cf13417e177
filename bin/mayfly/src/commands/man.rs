use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli;
use crate::context::Context;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  man | man -l -\n  man --directory /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Write one page per command into this directory, instead of the main page on standard output
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut command = without_help(cli::definition());
        command.build();
        let Some(directory) = self.directory else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return Ok(context.out.text(&String::from_utf8_lossy(&page))?);
        };
        std::fs::create_dir_all(&directory)
            .and_then(|()| clap_mangen::generate_to(command, &directory))
            .with_context(|| format!("write manual pages into {}", directory.display()))
    }
}

/// Without the `help` of every group, whose pages would be a copy of all the others.
fn without_help(command: clap::Command) -> clap::Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}
