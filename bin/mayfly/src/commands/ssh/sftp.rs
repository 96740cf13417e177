mod copy;
mod shell;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::SshFlags;
use crate::client::{FileKind, Sftp};
use crate::context::Context;
use crate::failure::Failure;

/// What the file server in machines is called; it needs nothing of the image.
const PROGRAM: &str = "internal-sftp";

#[derive(Subcommand, Debug)]
pub(crate) enum SftpCommand {
    /// List files, from a directory on down
    Find(Find),
    /// Copy a file from a machine
    Get(Get),
    /// Copy a file to a machine
    Put(Put),
    /// Work on a machine's files, one command after the other
    Shell(Shell),
}

#[derive(Args, Debug)]
pub(crate) struct Find {
    /// Where to begin
    #[arg(default_value = "/")]
    path: String,
    #[command(flatten)]
    flags: SshFlags,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// File or directory in the machine
    remote: String,
    /// Where to put it (default: its own name, here)
    local: Option<PathBuf>,
    /// Copy a directory with all in it
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    flags: SshFlags,
}

#[derive(Args, Debug)]
pub(crate) struct Put {
    /// File or directory here
    local: PathBuf,
    /// Where to put it in the machine (default: its own name, in the working directory)
    remote: Option<String>,
    /// Permissions of the file there, in octal (default: as here)
    #[arg(short, long, value_name = "MODE", value_parser = octal)]
    mode: Option<u32>,
    /// Copy a directory with all in it
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    flags: SshFlags,
}

#[derive(Args, Debug)]
pub(crate) struct Shell {
    #[command(flatten)]
    flags: SshFlags,
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| "use octal digits, such as 0644".to_owned())
}

impl SftpCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            SftpCommand::Find(command) => command.run(context).await,
            SftpCommand::Get(command) => command.run(context).await,
            SftpCommand::Put(command) => command.run(context).await,
            SftpCommand::Shell(command) => {
                let sftp = connect(context, &command.flags).await?;
                shell::run(context, sftp).await
            }
        }
    }
}

async fn connect(context: &Context, flags: &SshFlags) -> anyhow::Result<Sftp> {
    let api = context.api()?;
    let chosen = flags.choose(context, &api).await?;
    let command = vec![PROGRAM.to_owned()];
    let stream = flags
        .exec(&api, &chosen, command, json!({ "session": "sftp" }))
        .await?;
    Ok(Sftp::begin(stream).await?)
}

impl Find {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut sftp = connect(context, &self.flags).await?;
        let mut waiting = vec![self.path.clone()];
        let root = sftp.stat(&self.path).await?;
        context.out.line(&self.path)?;
        if root.kind != FileKind::Directory {
            return Ok(());
        }
        while let Some(path) = waiting.pop() {
            let entries = match sftp.list(&path).await {
                Ok(entries) => entries,
                // What may not be read, or has just gone, ends nothing.
                Err(error) => {
                    context.out.note(&format!("{error}"));
                    continue;
                }
            };
            let mut below = Vec::new();
            for entry in entries {
                let whole = join(&path, &entry.name);
                context.out.line(&whole)?;
                // The kernel's own views have no end.
                if entry.kind == FileKind::Directory && whole != "/proc" && whole != "/sys" {
                    below.push(whole);
                }
            }
            below.reverse();
            waiting.extend(below);
        }
        Ok(())
    }
}

impl Get {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = name_of(&self.remote);
        let local = match self.local {
            Some(local) if local.is_dir() && !self.recursive => local.join(name),
            Some(local) => local,
            None => PathBuf::from(name),
        };
        let mut sftp = connect(context, &self.flags).await?;
        let found = sftp.stat(&self.remote).await?;
        if found.kind == FileKind::Directory {
            if !self.recursive {
                return Err(Failure::new(format!("{} is a directory", self.remote))
                    .remedy("Copy it with all in it by adding -R.")
                    .into());
            }
            let count = copy::get_all(context, &mut sftp, &self.remote, &local).await?;
            let line = format!("{count} bytes written to {}", local.display());
            return Ok(context.out.line(&line)?);
        }
        if local.exists() {
            return Err(
                Failure::new(format!("file {} is already there", local.display()))
                    .remedy("Name another place, or remove it first.")
                    .into(),
            );
        }
        let bytes = copy::get(&mut sftp, &self.remote, &local, found.mode).await?;
        let line = format!("{bytes} bytes written to {}", local.display());
        Ok(context.out.line(&line)?)
    }
}

impl Put {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let text = self.local.display().to_string();
        let name = name_of(&text).to_owned();
        let mut sftp = connect(context, &self.flags).await?;
        let mut remote = self.remote.clone().unwrap_or_else(|| name.clone());
        if self.local.is_dir() {
            if !self.recursive {
                return Err(Failure::new(format!("{text} is a directory"))
                    .remedy("Copy it with all in it by adding -R.")
                    .into());
            }
            let (files, bytes) = copy::put_all(context, &mut sftp, &self.local, &remote).await?;
            let line = format!("{files} files uploaded ({bytes} bytes total) to {remote}");
            return Ok(context.out.line(&line)?);
        }
        let there = sftp.stat(&remote).await.ok();
        if there.is_some_and(|there| there.kind == FileKind::Directory) {
            remote = join(&remote, &name);
        }
        let bytes = copy::put(&mut sftp, &self.local, &remote, self.mode).await?;
        Ok(context
            .out
            .line(&format!("{bytes} bytes uploaded to {remote}"))?)
    }
}

/// `name` below `path`.
fn join(path: &str, name: &str) -> String {
    match path.strip_suffix('/') {
        Some(path) => format!("{path}/{name}"),
        None => format!("{path}/{name}"),
    }
}

/// The last part of a path.
fn name_of(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "root" } else { name }
}
