//! The files a build is given: those below a directory that the rules leave in, as a tar stream that is never whole in memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mayfly_launch::{ContextRules, Judgement};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

/// Pieces read ahead of the network.
const QUEUE_DEPTH: usize = 4;
const PIECE_BYTES: usize = 256 << 10;
/// Names shown of files that hardly belong into an image.
const DOUBTFUL_MAX: usize = 10;

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Files whose names say that they hold keys or passwords.
    pub(crate) doubtful: Vec<String>,
}

/// Why a context could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {} for the build context", path.display())]
pub(crate) struct ContextError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A context on its way: its bytes, then what they were.
pub(crate) struct Packing {
    pub(crate) pieces: mpsc::Receiver<Bytes>,
    done: std::thread::JoinHandle<Result<Summary, ContextError>>,
}

impl Packing {
    /// Reads `root` on a thread of its own, which ends when this is dropped.
    pub(crate) fn start(root: &Path, rules: ContextRules) -> Self {
        let (sender, pieces) = mpsc::channel(QUEUE_DEPTH);
        let root = root.to_owned();
        let done = std::thread::spawn(move || {
            let mut pieces = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
            let summary = pack(&root, &rules, &mut pieces)?;
            let flushed = pieces.flush();
            flushed.map_err(|source| ContextError { path: root, source })?;
            Ok(summary)
        });
        Self { pieces, done }
    }

    /// Once there are no more pieces.
    pub(crate) fn end(self) -> Result<Summary, ContextError> {
        drop(self.pieces);
        match self.done.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Writes into the queue.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.0.blocking_send(piece);
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes everything below `root` that the rules leave in. Owners are root, times and permissions as they are; links stay
/// links, and what is neither file, directory nor link is left out.
pub(crate) fn pack(
    root: &Path,
    rules: &ContextRules,
    to: impl Write,
) -> Result<Summary, ContextError> {
    let mut archive = Builder::new(to);
    let mut packer = Packer {
        root,
        rules,
        archive: &mut archive,
        written: BTreeSet::new(),
        summary: Summary::default(),
    };
    packer.directory(Path::new(""), &Judgement::default())?;
    let summary = packer.summary;
    let finished = archive.into_inner().map(drop);
    finished.map_err(|source| ContextError {
        path: root.to_owned(),
        source,
    })?;
    Ok(summary)
}

struct Packer<'a, W: Write> {
    root: &'a Path,
    rules: &'a ContextRules,
    archive: &'a mut Builder<W>,
    /// Directories that are in the archive already.
    written: BTreeSet<PathBuf>,
    summary: Summary,
}

impl<W: Write> Packer<'_, W> {
    fn directory(&mut self, path: &Path, judgement: &Judgement) -> Result<(), ContextError> {
        let place = self.root.join(path);
        let at = |source| ContextError {
            path: place.clone(),
            source,
        };
        let entries: io::Result<Vec<_>> = fs::read_dir(&place).map_err(at)?.collect();
        let mut names: Vec<_> = entries
            .map_err(at)?
            .iter()
            .map(fs::DirEntry::file_name)
            .collect();
        names.sort();
        for name in names {
            self.entry(&path.join(name), judgement)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, above: &Judgement) -> Result<(), ContextError> {
        let place = self.root.join(path);
        let at = |source| ContextError {
            path: place.clone(),
            source,
        };
        let name = path.to_string_lossy();
        let judgement = self.rules.judge(above, &name);
        let metadata = fs::symlink_metadata(&place).map_err(at)?;
        if metadata.is_dir() {
            if judgement.left_out && !self.rules.may_hold_exceptions(&name) {
                return Ok(());
            }
            if !judgement.left_out {
                self.directories_to(path).map_err(at)?;
            }
            return self.directory(path, &judgement);
        }
        if judgement.left_out {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directories_to(parent).map_err(at)?;
        }
        let mut header = header(&metadata);
        if metadata.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            let target = fs::read_link(&place).map_err(at)?;
            let appended = self.archive.append_link(&mut header, path, target);
            appended.map_err(at)?;
        } else if metadata.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let content = Exactly {
                file: File::open(&place).map_err(at)?,
                left: metadata.len(),
            };
            let appended = self.archive.append_data(&mut header, path, content);
            appended.map_err(at)?;
            self.summary.bytes += metadata.len();
            if is_doubtful(path) && self.summary.doubtful.len() < DOUBTFUL_MAX {
                self.summary.doubtful.push(name.into_owned());
            }
        } else {
            return Ok(());
        }
        self.summary.files += 1;
        Ok(())
    }

    /// Enters a directory and those above it, unless they are there.
    fn directories_to(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || self.written.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directories_to(parent)?;
        }
        let mut header = header(&fs::symlink_metadata(self.root.join(path))?);
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        self.archive.append_data(&mut header, path, io::empty())?;
        self.written.insert(path.to_owned());
        Ok(())
    }
}

fn header(metadata: &fs::Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(metadata.mtime().try_into().unwrap_or(0));
    header
}

/// A file as long as its entry says, whatever happens to it meanwhile.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let length = self.file.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// Whether a file usually holds what no image may hold.
fn is_doubtful(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.as_deref().unwrap_or_default();
    let example =
        name.ends_with(".example") || name.ends_with(".sample") || name.ends_with(".template");
    (name == ".env" || name.starts_with(".env.") && !example)
        || matches!(
            name,
            "id_rsa" | "id_ed25519" | "id_ecdsa" | ".npmrc" | ".netrc" | ".pypirc"
        )
        || name.ends_with(".pem")
        || name.ends_with(".key")
        || name == "credentials.json"
}

#[cfg(test)]
mod tests;
