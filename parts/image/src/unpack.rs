//! Unpacks a layer into a directory that overlayfs takes as it is.

mod decompress;
mod metadata;
mod metered;
mod path;
mod tree;

use std::io::Read;
use std::path::{Path, PathBuf};

use mayfly_runtime::Stop;
use mayfly_types::{Digest, ErrorKind};
use rustix::io::Errno;

use crate::LayerLimits;
use crate::error::disk_kind;
use crate::tar::{Entry, EntryKind, TarError, TarReader};
pub(crate) use decompress::{COMPRESSED, decompress};
use metered::{Meter, Metered};
use path::EntryPath;
pub use path::InvalidPath;
use tree::Tree;

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("{action} {path}")]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("read the archive after entry `{after}`")]
    Archive {
        after: String,
        #[source]
        source: TarError,
    },
    #[error("entry `{entry}`")]
    Entry {
        entry: String,
        #[source]
        source: EntryError,
    },
    #[error("it has more than {0} entries, which is the limit")]
    Entries(u64),
    #[error("it unpacks to more than {0} bytes, which is the limit")]
    Bytes(u64),
    #[error("it unpacks to more than {0} times its size, which is the limit")]
    Ratio(u64),
    #[error("its content has digest {found}, its image says {wanted}")]
    Content { wanted: Digest, found: Digest },
    #[error("unpacking was stopped")]
    Stopped,
}

/// What is wrong with one entry of a layer.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error("link to `{target}`")]
    Link {
        target: String,
        #[source]
        source: InvalidPath,
    },
    #[error("it is a hard link to `{0}`, which this layer does not have")]
    LinkToNothing(String),
    #[error("it is a hard link to `{0}`, which is not a file")]
    LinkToOther(String),
    #[error("its parent is not a directory in this layer")]
    Parent,
    #[error("a symbolic link must point to 1 to 4095 bytes without NUL")]
    Target,
    #[error("the archive gives it no or an unusable name after `.wh.`")]
    Whiteout,
    #[error("the top of the layer must be a directory")]
    Root,
    #[error("read its content")]
    Content(#[source] TarError),
    #[error("{action}")]
    Write {
        action: &'static str,
        #[source]
        source: Errno,
    },
}

impl UnpackError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            UnpackError::Disk { source, .. } => disk_kind(source),
            UnpackError::Entry {
                source: EntryError::Write { source, .. },
                ..
            } => match *source {
                Errno::NOSPC | Errno::DQUOT => ErrorKind::Exhausted,
                Errno::IO | Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NOMEM => {
                    ErrorKind::Internal
                }
                // What the kernel refuses otherwise, such as too long names, the archive asked for.
                _ => ErrorKind::Invalid,
            },
            UnpackError::Stopped => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        }
    }
}

/// Unpacks the archive in `blob` (plain, gzip or zstd) into the new directory `target`, and checks that the
/// uncompressed bytes have the digest `diff_id`.
///
/// On an error `target` may hold anything and is the caller's to remove; nothing outside of it was touched.
/// Devices are left out. Blocks; asks `stop` often.
pub(crate) fn unpack(
    blob: impl Read,
    blob_bytes: u64,
    diff_id: Digest,
    target: &Path,
    limits: &LayerLimits,
    stop: &Stop,
) -> Result<(), UnpackError> {
    let disk = |action| {
        move |source: std::io::Error| UnpackError::Disk {
            action,
            path: target.to_owned(),
            source,
        }
    };
    std::fs::create_dir(target).map_err(disk("create"))?;
    let mut tree = Tree::open(target).map_err(|errno| disk("open")(errno.into()))?;
    let meter = Meter::new(limits, blob_bytes, stop);
    let mut after = String::from("(start)");
    let archive_failed = |after: &str, source: TarError| {
        meter.verdict().unwrap_or_else(|| UnpackError::Archive {
            after: after.to_owned(),
            source,
        })
    };
    let plain = decompress(blob).map_err(|error| archive_failed(&after, TarError::Read(error)))?;
    let mut archive = TarReader::new(Metered::new(plain, &meter), limits.header_bytes);
    let mut entries = 0u64;
    while let Some(entry) = archive
        .next_entry()
        .map_err(|error| archive_failed(&after, error))?
    {
        entries += 1;
        if entries + tree.implied_directories() > limits.entries {
            return Err(UnpackError::Entries(limits.entries));
        }
        if entry.size > limits.bytes {
            return Err(UnpackError::Bytes(limits.bytes));
        }
        after = shown(&entry.path);
        if let Err(source) = place(&mut tree, &mut archive, &entry, limits) {
            return Err(meter.verdict().unwrap_or(UnpackError::Entry {
                entry: after,
                source,
            }));
        }
    }
    archive
        .drain()
        .map_err(|error| archive_failed(&after, error))?;
    drop(archive);
    let found = meter.digest();
    if found != diff_id {
        return Err(UnpackError::Content {
            wanted: diff_id,
            found,
        });
    }
    tree.finish().map_err(|errno| disk("finish")(errno.into()))
}

/// Puts one entry into the tree.
fn place(
    tree: &mut Tree,
    archive: &mut TarReader<impl Read>,
    entry: &Entry,
    limits: &LayerLimits,
) -> Result<(), EntryError> {
    let path = EntryPath::parse(&entry.path, limits)?;
    let Some((parent, name)) = path.split() else {
        return match entry.kind {
            EntryKind::Directory => tree.describe_root(entry),
            _ => Err(EntryError::Root),
        };
    };
    if let Some(hidden) = name.strip_prefix(b".wh.") {
        return match hidden {
            b".wh..opq" => tree.opaque(parent),
            // Bookkeeping of aufs, which wrote the first layers of this kind.
            _ if hidden.starts_with(b".wh.") => Ok(()),
            b"" | b"." | b".." => Err(EntryError::Whiteout),
            _ => tree.whiteout(parent, hidden),
        };
    }
    match &entry.kind {
        EntryKind::Directory => tree.directory(parent, name, entry),
        EntryKind::File => tree.file(parent, name, entry, archive),
        EntryKind::Symlink(target) => {
            if target.is_empty() || target.len() > 4095 || target.contains(&0) {
                return Err(EntryError::Target);
            }
            tree.symlink(parent, name, entry, target)
        }
        EntryKind::HardLink(target) => {
            let source = EntryPath::parse(target, limits).map_err(|source| EntryError::Link {
                target: shown(target),
                source,
            })?;
            tree.hard_link(parent, name, &source, target)
        }
        EntryKind::Fifo => tree.fifo(parent, name, entry),
        // A machine gets its devices from the driver; an image must not bring any.
        EntryKind::Device => Ok(()),
    }
}

/// A name for people: what is not text is escaped, and nobody reads more than this.
fn shown(path: &[u8]) -> String {
    let most = 300;
    let text = path[..path.len().min(most)]
        .utf8_chunks()
        .fold(String::new(), |mut text, chunk| {
            text.extend(chunk.valid().chars().flat_map(|char| {
                let plain = !char.is_control();
                plain.then_some(char).into_iter().chain(
                    (!plain)
                        .then(|| char.escape_default())
                        .into_iter()
                        .flatten(),
                )
            }));
            text.push_str(&chunk.invalid().escape_ascii().to_string());
            text
        });
    if path.len() > most {
        format!("{text}…")
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
