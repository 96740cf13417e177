use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mayfly_guest::RootLaunch;
use mayfly_machine::{Persist, RootfsSpec};

/// Prepares the writable part of one container's root filesystem in `directory` and names it for the init.
///
/// Without a size limit it is two directories; with one, a sparse disk image that holds them. What is there already is
/// used as it is: whoever wants it rebuilt has thrown it away before.
pub(crate) fn prepare(
    directory: &Path,
    container: &str,
    rootfs: RootfsSpec,
    lower: Vec<PathBuf>,
) -> io::Result<RootLaunch> {
    let Some(size_gib) = rootfs.size_gib else {
        let root = directory.join(container);
        let (upper, work) = (root.join("upper"), root.join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        return Ok(RootLaunch {
            lower,
            upper,
            work,
            disk_image: None,
        });
    };
    fs::create_dir_all(directory)?;
    let image = directory.join(format!("{container}.ext4"));
    if !image.exists() {
        make_disk(&image, size_gib, rootfs.persist)?;
    }
    Ok(RootLaunch {
        lower,
        upper: "/upper".into(),
        work: "/work".into(),
        disk_image: Some(image),
    })
}

/// Makes an ext4 filesystem in a sparse file. One that is rebuilt at every start needs no journal.
fn make_disk(image: &Path, size_gib: u32, persist: Persist) -> io::Result<()> {
    let beside = image.with_extension("new");
    let file = File::create(&beside)?;
    file.set_len(u64::from(size_gib) << 30)?;
    let journal = match persist {
        Persist::Never => "^has_journal",
        Persist::Restart | Persist::Always => "has_journal",
    };
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-O", journal])
        .args(["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"])
        .arg(&beside)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let hint = format!("mkfs.ext4, of the package e2fsprogs: {error}");
            io::Error::new(error.kind(), hint)
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("mkfs.ext4: {}", text.trim())));
    }
    fs::rename(&beside, image)
}
