use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mayfly_content::Staging;
use mayfly_types::Digest;

use crate::name::Repository;

/// Where things are in the registry's directory.
///
/// ```text
/// blobs/<hex>                                     content, manifests included
/// remote/<hex>                                    the length of content that is in the bucket
/// leaving/<hex>                                   the same, of content that has yet to be taken out of the bucket
/// parts/<hex>                                     how far content that goes to the bucket in parts is
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
    staging: Staging,
}

impl Layout {
    /// Makes the directories that are missing and empties the staging.
    pub(crate) fn create(root: &Path) -> io::Result<Layout> {
        let layout = Layout {
            root: root.to_owned(),
            staging: Staging::new(root.join("staging")),
        };
        match fs::remove_dir_all(layout.staging.directory()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for directory in [
            layout.blobs(),
            layout.remotes(),
            layout.leavings(),
            layout.sendings(),
            layout.uploads(),
            layout.staging.directory().to_owned(),
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

    pub(crate) fn sendings(&self) -> PathBuf {
        self.root.join("parts")
    }

    pub(crate) fn sending(&self, digest: Digest) -> PathBuf {
        self.sendings().join(digest.hex())
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
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
        self.staging.write_durably(path, bytes)
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
