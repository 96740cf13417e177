//! Commands on a machine's files, one a line.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use super::{copy, join, name_of, octal};
use crate::client::{FileKind, Sftp};
use crate::context::Context;
use crate::machine_config::words;

const HELP: &str = "ls [path]            list a directory
cd <path>            go to a directory
pwd                  say where you are
get <remote> [local] copy a file from the machine
put <local> [remote] copy a file to the machine
chmod <mode> <path>  set permissions, in octal
mkdir <path>         make a directory
rm <path>            remove a file
rmdir <path>         remove an empty directory
mv <from> <to>       rename
exit                 leave";

pub(super) async fn run(context: &Context, mut sftp: Sftp) -> anyhow::Result<()> {
    let mut place = sftp.absolute(".").await?;
    let asks = context.out.can_ask();
    let mut failed = false;
    loop {
        if asks {
            let mut out = std::io::stderr().lock();
            write!(out, "» ")?;
            out.flush()?;
        }
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            break;
        }
        let words = match words(&line, "the line") {
            Ok(words) => words,
            Err(error) => {
                context.out.note(&format!("{error}"));
                continue;
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => continue,
            ["exit" | "quit" | "bye"] => break,
            _ => {}
        }
        if let Err(error) = perform(context, &mut sftp, &mut place, &words).await {
            failed = true;
            context.out.note(&format!("{error:#}"));
        }
    }
    // A script wants to know; somebody at a terminal has read it.
    if failed && !asks {
        anyhow::bail!("some commands failed");
    }
    Ok(())
}

async fn perform(
    context: &Context,
    sftp: &mut Sftp,
    place: &mut String,
    words: &[&str],
) -> anyhow::Result<()> {
    let here = place.clone();
    let at = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => join(&here, path),
    };
    match words {
        ["help" | "?"] => context.out.line(HELP)?,
        ["pwd"] => context.out.line(&here)?,
        ["cd", path] => {
            let path = sftp.absolute(&at(path)).await?;
            if sftp.stat(&path).await?.kind != FileKind::Directory {
                anyhow::bail!("{path} is no directory");
            }
            *place = path;
        }
        ["ls"] => list(context, sftp, &here).await?,
        ["ls", path] => list(context, sftp, &at(path)).await?,
        ["get", remote, rest @ ..] if rest.len() < 2 => {
            let remote = at(remote);
            let local = rest.first().copied().unwrap_or_else(|| name_of(&remote));
            let local = PathBuf::from(local);
            let mode = sftp.stat(&remote).await?.mode;
            let bytes = copy::get(sftp, &remote, &local, mode).await?;
            let line = format!("{bytes} bytes written to {}", local.display());
            context.out.line(&line)?;
        }
        ["put", local, rest @ ..] if rest.len() < 2 => {
            let remote = at(rest.first().copied().unwrap_or_else(|| name_of(local)));
            let bytes = copy::put(sftp, Path::new(local), &remote, None).await?;
            let line = format!("{bytes} bytes uploaded to {remote}");
            context.out.line(&line)?;
        }
        ["chmod", mode, path] => {
            let mode = octal(mode).map_err(anyhow::Error::msg)?;
            sftp.set_mode(&at(path), mode).await?;
        }
        ["mkdir", path] => sftp.make_directory(&at(path), 0o755).await?,
        ["rm", path] => sftp.remove(&at(path)).await?,
        ["rmdir", path] => sftp.remove_directory(&at(path)).await?,
        ["mv", from, to] => sftp.rename(&at(from), &at(to)).await?,
        [unknown, ..] => anyhow::bail!("{unknown}: not understood; `help` lists what is"),
        [] => {}
    }
    Ok(())
}

async fn list(context: &Context, sftp: &mut Sftp, path: &str) -> anyhow::Result<()> {
    for entry in sftp.list(path).await? {
        context.out.line(&entry.line)?;
    }
    Ok(())
}
