//! Files and whole directories, with their permissions.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context as _;

use super::join;
use crate::client::{FileKind, Sftp};
use crate::context::Context;

/// A copy that breaks off leaves nothing that looks whole.
pub(super) async fn get(
    sftp: &mut Sftp,
    remote: &str,
    local: &Path,
    mode: u32,
) -> anyhow::Result<u64> {
    let text = local.display().to_string();
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options
        .open(local)
        .with_context(|| format!("make {text}"))?;
    let copied = sftp.get(remote, &mut file, &text).await;
    if copied.is_err() {
        let _ = fs::remove_file(local);
    }
    let bytes = copied?;
    let permissions = Permissions::from_mode(mode & 0o777);
    file.set_permissions(permissions)
        .with_context(|| format!("set the permissions of {text}"))?;
    Ok(bytes)
}

/// How many bytes in all. Links and special files are passed over, with a word.
pub(super) async fn get_all(
    context: &Context,
    sftp: &mut Sftp,
    remote: &str,
    local: &Path,
) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut waiting = vec![(remote.to_owned(), local.to_owned(), 0o755)];
    let mut made = Vec::new();
    while let Some((remote, local, mode)) = waiting.pop() {
        fs::create_dir_all(&local).with_context(|| format!("make {}", local.display()))?;
        made.push((local.clone(), mode));
        for entry in sftp.list(&remote).await? {
            let from = join(&remote, &entry.name);
            // A machine is not trusted with where its files go.
            if entry.name.contains('/') {
                context
                    .out
                    .note(&format!("passed over {from}: no good name"));
                continue;
            }
            let to = local.join(&entry.name);
            match entry.kind {
                FileKind::Directory => waiting.push((from, to, entry.mode)),
                FileKind::File => bytes += get(sftp, &from, &to, entry.mode).await?,
                FileKind::Link | FileKind::Other => {
                    context
                        .out
                        .note(&format!("passed over {from}: no plain file"));
                }
            }
        }
    }
    // The innermost first, and only now: a directory may be read-only.
    for (directory, mode) in made.into_iter().rev() {
        let permissions = Permissions::from_mode(mode & 0o777);
        fs::set_permissions(&directory, permissions)
            .with_context(|| format!("set the permissions of {}", directory.display()))?;
    }
    Ok(bytes)
}

pub(super) async fn put(
    sftp: &mut Sftp,
    local: &Path,
    remote: &str,
    mode: Option<u32>,
) -> anyhow::Result<u64> {
    let text = local.display().to_string();
    let mut file = File::open(local).with_context(|| format!("open {text}"))?;
    let found = file.metadata().with_context(|| format!("look at {text}"))?;
    let mode = mode.unwrap_or(found.permissions().mode() & 0o777);
    Ok(sftp.put(&mut file, &text, remote, mode).await?)
}

/// How many files and bytes in all.
pub(super) async fn put_all(
    context: &Context,
    sftp: &mut Sftp,
    local: &Path,
    remote: &str,
) -> anyhow::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut waiting = vec![(local.to_owned(), remote.to_owned())];
    while let Some((local, remote)) = waiting.pop() {
        let look = || format!("read {}", local.display());
        let mode = fs::metadata(&local)
            .with_context(look)?
            .permissions()
            .mode()
            & 0o777;
        let there = sftp.stat(&remote).await.ok();
        if !there.is_some_and(|there| there.kind == FileKind::Directory) {
            sftp.make_directory(&remote, mode).await?;
        }
        for entry in fs::read_dir(&local).with_context(look)? {
            let entry = entry.with_context(look)?;
            let Ok(name) = entry.file_name().into_string() else {
                let path = entry.path();
                context
                    .out
                    .note(&format!("passed over {}: no text", path.display()));
                continue;
            };
            let (from, to) = (entry.path(), join(&remote, &name));
            let kind = entry.file_type().with_context(look)?;
            if kind.is_dir() {
                waiting.push((from, to));
            } else if kind.is_file() {
                bytes += put(sftp, &from, &to, None).await?;
                files += 1;
            } else {
                context
                    .out
                    .note(&format!("passed over {}: no plain file", from.display()));
            }
        }
    }
    Ok((files, bytes))
}
