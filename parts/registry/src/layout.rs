use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mayfly_types::Digest;

use crate::name::Repository;

/// Where things are in the registry's directory.
///
/// ```text
/// blobs/<hex>                                     content, manifests included
/// remote/<hex>                                    the length of content that is in the bucket
/// leaving/<hex>                                   the same, of content that has yet to be taken out of the bucket
/// uploads/<id>, <id>.json                         what has come of an upload, and what it is for
/// staging/                                        unfinished writes; emptied at start
/// repositories/<app id>@<name, slashes as +>/     of the mirror's: mirror@<name, slashes as +>/
///     blobs/<hex>                                 empty: this blob belongs to the repository; its time is the last use
///     manifests/<hex>                             what the manifest is and needs
///     tags/<tag>                                  a digest
///     referrers/<hex of the subject>/<hex>        empty: this manifest has that subject
/// ```
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    serial: AtomicU64,
}

impl Layout {
    /// Makes the directories that are missing and empties the staging.
    pub(crate) fn create(root: &Path) -> io::Result<Layout> {
        let layout = Layout {
            root: root.to_owned(),
            serial: AtomicU64::new(0),
        };
        match fs::remove_dir_all(layout.staging()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for directory in [
            layout.blobs(),
            layout.remotes(),
            layout.leavings(),
            layout.uploads(),
            layout.staging(),
            layout.repositories(),
        ] {
            fs::create_dir_all(directory)?;
        }
        Ok(layout)
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn remotes(&self) -> PathBuf {
        self.root.join("remote")
    }

    pub(crate) fn remote(&self, digest: Digest) -> PathBuf {
        self.remotes().join(digest.hex())
    }

    pub(crate) fn leavings(&self) -> PathBuf {
        self.root.join("leaving")
    }

    pub(crate) fn leaving(&self, digest: Digest) -> PathBuf {
        self.leavings().join(digest.hex())
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    pub(crate) fn repository(&self, repository: &Repository) -> Place {
        Place(self.repositories().join(repository.file_name()))
    }

    /// Bytes that may still be written here.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.root)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Replaces `path` with `bytes` such that a crash leaves the old or the new content. Makes the directory.
    pub(crate) fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let beside = self.staging().join(serial.to_string());
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename_durably(&beside, path)
    }
}

/// The directory of one repository.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.0.join("blobs")
    }

    pub(crate) fn link(&self, digest: Digest) -> PathBuf {
        self.links().join(digest.hex())
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.0.join("manifests")
    }

    pub(crate) fn manifest(&self, digest: Digest) -> PathBuf {
        self.manifests().join(digest.hex())
    }

    pub(crate) fn tags(&self) -> PathBuf {
        self.0.join("tags")
    }

    pub(crate) fn tag(&self, tag: &str) -> PathBuf {
        self.tags().join(tag)
    }

    pub(crate) fn referrers(&self, subject: Digest) -> PathBuf {
        self.0.join("referrers").join(subject.hex())
    }
}

/// Renames and makes the new name survive a power cut; makes the directory if it is missing.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
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

/// The names in a directory; none if it is missing.
pub(crate) fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// The digests that files of a directory are named by.
pub(crate) fn digests_in(directory: &Path) -> io::Result<Vec<Digest>> {
    let names = names_in(directory)?;
    let digests = names.iter().map(|name| format!("sha256:{name}").parse());
    Ok(digests.filter_map(Result::ok).collect())
}

/// True if there was something to remove.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
