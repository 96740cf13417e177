use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};

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
    serial: AtomicU64,
}

pub(crate) const PARTIAL: &str = "part";

impl Layout {
    /// Makes the directories that are missing.
    pub(crate) fn create(root: &Path) -> io::Result<Layout> {
        let layout = Layout {
            root: root.to_owned(),
            serial: AtomicU64::new(0),
        };
        for directory in [layout.blobs(), layout.layers(), layout.staging()] {
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

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// A name in the staging directory that no other work of this process has.
    pub(crate) fn scratch(&self, what: &str) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.staging().join(format!("{what}-{serial}"))
    }

    /// A download that may be continued after a restart.
    pub(crate) fn partial(&self, digest: Digest) -> PathBuf {
        self.staging().join(format!("{}.{PARTIAL}", digest.hex()))
    }

    /// Replaces `path` with `bytes` such that a crash leaves the old or the new content.
    pub(crate) fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = self.scratch("write");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename_durably(&beside, path)
    }
}

/// Renames and makes the new name survive a power cut.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    if let Some(parent) = to.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// A digest from the file name of a blob or layer.
pub(crate) fn digest_from_name(name: &std::ffi::OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}
