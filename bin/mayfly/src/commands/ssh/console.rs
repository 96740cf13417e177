use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::SshFlags;
use crate::context::Context;
use crate::remote_command::{LOGIN_SHELL, command_line};
use crate::session::{self, Attach};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ssh console\n  ssh console -C 'df -h | sort'\n  ssh console --machine 3d8d7a11 -u postgres\n  \
                  tar c . | ssh console -C 'tar x -C /data'\n\nThe exit code is the command's."
)]
pub(crate) struct Console {
    #[command(flatten)]
    flags: SshFlags,
    /// Command to run instead of a shell
    #[arg(short = 'C', long, value_name = "COMMAND")]
    command: Option<String>,
    /// Give the command a terminal
    #[arg(long)]
    pty: bool,
}

impl Console {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let api = context.api()?;
        let chosen = self.flags.choose(context, &api).await?;
        let command = self.command.as_deref().filter(|line| !line.is_empty());
        let interactive = context.out.is_interactive();
        let attach = match (command.is_none() || self.pty, interactive) {
            (true, true) => Attach::Terminal,
            (true, false) if self.pty => Attach::Pseudo,
            // Without a terminal a shell reads its commands from standard input.
            _ => Attach::Input,
        };
        let (argv, kind) = match command {
            Some(line) => (command_line(line), "exec"),
            None if attach == Attach::Input => (vec!["/bin/sh".to_owned()], "shell"),
            None => (LOGIN_SHELL.map(str::to_owned).to_vec(), "shell"),
        };
        let machine = &chosen.machine;
        if attach == Attach::Terminal {
            let line = format!("Connecting to {}... complete", machine.private_ip());
            self.flags.tell(context, &line);
        }
        let tty = matches!(attach, Attach::Terminal | Attach::Pseudo).then(|| {
            let (rows, columns) = session::size();
            json!({ "rows": rows, "columns": columns })
        });
        let mut env = serde_json::Map::new();
        if tty.is_some() {
            let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
            env.insert("TERM".to_owned(), term.into());
        }
        let more = json!({ "tty": tty, "env": env, "session": kind });
        let stream = self.flags.exec(&api, &chosen, argv, more).await?;
        session::run(stream, attach).await
    }
}
