use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mayfly_content::Staging;
use mayfly_types::Digest;

/// Where things are in the store's directory.
///
/// ```text
/// index.json              names and images
/// blobs/sha256/<hex>      manifests and configurations; of imports in a fleet, the layers too
/// layers/<hex>/           unpacked layers, by digest of the uncompressed archive
/// staging/                unfinished; emptied at start, but for the partial downloads `<hex>.part`
/// ```
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    staging: Staging,
}

pub(crate) const PARTIAL: &str = "part";

impl Layout {
    /// Makes the directories that are missing.
    pub(crate) fn create(root: &Path) -> io::Result<Layout> {
        let layout = Layout {
            root: root.to_owned(),
            staging: Staging::new(root.join("staging")),
        };
        for directory in [layout.blobs(), layout.layers(), layout.staging().to_owned()] {
            fs::create_dir_all(directory)?;
        }
        Ok(layout)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, diff_id: Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn staging(&self) -> &Path {
        self.staging.directory()
    }

    /// A name in the staging directory that no other work of this process has.
    pub(crate) fn scratch(&self, what: &str) -> PathBuf {
        self.staging.scratch(what)
    }

    /// A download that may be continued after a restart.
    pub(crate) fn partial(&self, digest: Digest) -> PathBuf {
        self.staging().join(format!("{}.{PARTIAL}", digest.hex()))
    }

    /// Replaces `path` with `bytes` such that a crash leaves the old or the new content.
    pub(crate) fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.staging.write_durably(path, bytes)
    }
}
