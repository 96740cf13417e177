use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mayfly_types::Digest;

/// A directory for what is not finished, on the file system of the places it goes to.
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    serial: AtomicU64,
}

impl Staging {
    /// The directory is the caller's to make.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            serial: AtomicU64::new(0),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A name that no other work of this process has.
    pub fn scratch(&self, what: &str) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{what}-{serial}"))
    }

    /// Replaces `path` with `bytes` such that a crash leaves the old or the new content. Makes its directory.
    pub fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = self.scratch("write");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename_durably(&beside, path)
    }
}

/// Renames and makes the new name survive a power cut; makes the directory if it is missing.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().expect("places lie in directories");
    if !parent.exists() {
        fs::create_dir_all(parent)?;
        for above in parent.ancestors().skip(1).take(2) {
            File::open(above)?.sync_all()?;
        }
    }
    fs::rename(from, to)?;
    File::open(parent)?.sync_all()
}

/// True if there was something to remove.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names in a directory; none if it is missing.
pub fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// The digests that files of a directory are called by; none if it is missing.
pub fn digests_in(directory: &Path) -> io::Result<Vec<Digest>> {
    let names = names_in(directory)?;
    let digests = names
        .iter()
        .filter_map(|name| digest_from_name(OsStr::new(name)));
    Ok(digests.collect())
}

/// A digest from the file name of what has it.
pub fn digest_from_name(name: &OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}
