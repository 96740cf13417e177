//! Where the sources are, or come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::Launch;
use crate::context::Context;
use crate::failure::Failure;

/// Files a template may have; more is no template.
const FILES_MAX: usize = 50_000;

/// The directory of the sources, filled first when they come from elsewhere.
pub(super) fn directory(context: &Context, flags: &Launch) -> anyhow::Result<PathBuf> {
    let Some(from) = &flags.from else {
        if !flags.path.is_dir() {
            return Err(
                Failure::new(format!("there is no directory {}", flags.path.display()))
                    .remedy("--path takes the directory of the app's sources.")
                    .into(),
            );
        }
        return Ok(flags.path.clone());
    };
    let into = flags
        .into
        .clone()
        .unwrap_or_else(|| PathBuf::from(basename(from)));
    if fs::read_dir(&into).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(format!("{} is not empty", into.display()))
            .remedy("Name another directory with --into PATH.")
            .into());
    }
    let local = Path::new(from);
    if is_bare(local) {
        clone(from, &into)?;
    } else if local.is_dir() {
        let mut files = 0;
        copy(local, &into, &mut files).with_context(|| format!("copy {from}"))?;
    } else if is_repository(from) {
        clone(from, &into)?;
    } else {
        return Err(Failure::new(format!(
            "{from} is neither a directory nor the address of a git repository"
        ))
        .remedy("Addresses begin with https://, ssh://, git@ or file://.")
        .into());
    }
    context.out.note(&format!(
        "Put the sources of {from} into {}",
        into.display()
    ));
    Ok(into)
}

/// Whether a directory is a repository without a work tree, whose sources only git can tell.
fn is_bare(directory: &Path) -> bool {
    directory.join("HEAD").is_file()
        && directory.join("objects").is_dir()
        && directory.join("refs").is_dir()
}

fn is_repository(from: &str) -> bool {
    ["https://", "http://", "ssh://", "git@", "file://", "git://"]
        .iter()
        .any(|start| from.starts_with(start))
}

/// The last part of a path or address, without `.git`.
fn basename(from: &str) -> String {
    let name = from
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or_default();
    let name = name.trim_end_matches(".git");
    if name.is_empty() || name.starts_with('.') {
        "app".to_owned()
    } else {
        name.to_owned()
    }
}

fn clone(from: &str, into: &Path) -> anyhow::Result<()> {
    let output = Command::new("git")
        .args(["clone", "--quiet", "--depth", "1", "--"])
        .arg(from)
        .arg(into)
        // Without a terminal git must fail, not wait for a password.
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .context("run git: is it installed?")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("clone {from}: {}", said.trim())
}

/// Copies a tree without its repository; links and special files are left out.
fn copy(from: &Path, into: &Path, files: &mut usize) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    // Listed before anything is written: the target may lie inside of the source.
    let entries: Vec<_> = fs::read_dir(from)?.collect::<Result<_, _>>()?;
    let target = fs::canonicalize(into)?;
    for entry in entries {
        let kind = entry.file_type()?;
        let to = into.join(entry.file_name());
        if kind.is_dir() {
            let own = fs::canonicalize(entry.path())?;
            if entry.file_name() != ".git" && own != target {
                copy(&entry.path(), &to, files)?;
            }
        } else if kind.is_file() {
            *files += 1;
            if *files > FILES_MAX {
                bail!("it has more than {FILES_MAX} files");
            }
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::basename;

    #[test]
    fn directories_are_named_after_their_source() {
        for (from, name) in [
            ("https://github.com/a/hello.git", "hello"),
            ("git@github.com:a/hello", "hello"),
            ("../templates/node/", "node"),
            ("..", "app"),
        ] {
            assert_eq!(basename(from), name);
        }
    }
}
