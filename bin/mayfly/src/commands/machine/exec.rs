use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{pairs, words};
use crate::session::{self, Attach, exit_code_of};

use super::select::{self, Selected};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  machine exec 3d8d7a11 'ls -l /'\n  machine exec 3d8d7a11 --tty\n  tar c . | machine \
                        exec 3d8d7a11 --interactive -- tar x -C /data\n\nThe exit code is the command's. A command in \
                        one text is split as a shell does; with --tty and no command, a shell runs."
)]
pub(crate) struct Exec {
    /// Id or name of the machine
    id: String,
    /// Command to run; after `--` if it begins with a dash
    command: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Give the command your terminal
    #[arg(long, group = "attached")]
    tty: bool,
    /// Pass standard input on to the command
    #[arg(short, long, group = "attached")]
    interactive: bool,
    /// Seconds the command may take
    #[arg(long, value_name = "SECONDS", conflicts_with = "attached")]
    timeout: Option<u32>,
    /// Container to run the command in
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Run the command in the machine itself rather than in one of its containers
    #[arg(long, conflicts_with = "container")]
    no_container: bool,
    /// User to run the command as
    #[arg(short, long, requires = "attached")]
    user: Option<String>,
    /// Directory to run the command in
    #[arg(short = 'w', long, value_name = "PATH", requires = "attached")]
    workdir: Option<String>,
    /// Environment variable for the command as NAME=VALUE. May be given several times
    #[arg(short, long, value_name = "NAME=VALUE", requires = "attached")]
    env: Vec<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Exec {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let api = context.api()?;
        let shell = ["/bin/sh".to_owned()];
        let (id, command) = match self.command.as_slice() {
            [] if !select::is_id(&self.id) => (None, std::slice::from_ref(&self.id)),
            [] if self.tty => (Some(self.id.as_str()), shell.as_slice()),
            [] => {
                return Err(Failure::new("no command was given")
                    .remedy("Give it after the machine's ID, or --tty for a shell.")
                    .into());
            }
            words => (Some(self.id.as_str()), words),
        };
        let selected = select::one(context, &api, &self.app, id).await?;
        if self.tty || self.interactive {
            self.attached(context, &api, &selected, command).await
        } else {
            self.to_the_end(context, &api, &selected, command).await
        }
    }

    async fn to_the_end(
        &self,
        context: &Context,
        api: &Api,
        selected: &Selected,
        command: &[String],
    ) -> anyhow::Result<ExitCode> {
        let mut request = Map::new();
        match command {
            // One text is split by the server, as upstream has it; several words are the program and its arguments.
            [text] => request.insert("cmd".to_owned(), Value::from(text.as_str())),
            words => request.insert("command".to_owned(), Value::from(words)),
        };
        if let Some(seconds) = self.timeout {
            request.insert("timeout".to_owned(), Value::from(seconds));
        }
        if let Some(container) = &self.container {
            request.insert("container".to_owned(), Value::from(container.as_str()));
        }
        if self.no_container {
            request.insert("machine".to_owned(), Value::from(true));
        }
        let id = selected.machine.id();
        let answer = api.exec(&selected.app, id, Value::from(request)).await;
        let answer = answer.with_context(|| format!("could not exec command on machine {id}"))?;
        let exit_code = answer
            .get("exit_code")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        if self.json.json {
            context.out.json(&answer)?;
        } else {
            let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
            context.out.text(text("stdout"))?;
            io::stderr().write_all(text("stderr").as_bytes())?;
            let signal = answer
                .get("exit_signal")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            if signal > 0 {
                context
                    .out
                    .note(&format!("The command was ended by signal {signal}"));
            }
        }
        Ok(exit_code_of(i32::try_from(exit_code).unwrap_or(1)))
    }

    async fn attached(
        &self,
        context: &Context,
        api: &Api,
        selected: &Selected,
        command: &[String],
    ) -> anyhow::Result<ExitCode> {
        if self.tty && !context.out.is_interactive() {
            return Err(
                Failure::new("--tty needs a terminal on standard input and output")
                    .remedy("Leave it out, and pass data on with --interactive.")
                    .into(),
            );
        }
        let (rows, columns) = session::size();
        let tty = self
            .tty
            .then(|| json!({ "rows": rows, "columns": columns }));
        let command = match command {
            [text] => words(text, "the command")?,
            words => words.to_vec(),
        };
        let request = json!({
            "command": command,
            "env": pairs(&self.env, "--env")?,
            "user": self.user,
            "cwd": self.workdir,
            "container": self.container,
            "tty": tty,
        });
        let id = selected.machine.id();
        let stream = api.exec_stream(&selected.app, id, request).await;
        let stream = stream.with_context(|| format!("could not exec command on machine {id}"))?;
        let attach = match (self.tty, self.interactive) {
            (true, _) => Attach::Terminal,
            (false, true) => Attach::Input,
            (false, false) => Attach::Nothing,
        };
        session::run(stream, attach).await
    }
}
