use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mayfly_types::ErrorKind;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Piece, Scratch};
use crate::LayerLimits;
use crate::error::disk_kind;
use crate::tar::{EntryKind, TarError, TarReader};
use crate::unpack::{COMPRESSED, decompress};

/// Files by name: a directory, or the members of a tar that are read where they lie.
pub(super) enum Source {
    Directory(OwnedFd),
    Tar {
        file: File,
        members: HashMap<String, Member>,
        _scratch: Option<Scratch>,
    },
}

pub(super) enum Member {
    File {
        at: u64,
        size: u64,
    },
    /// Old docker archives repeat a layer as a link.
    Link(String),
}

/// Why a source or a file in it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{action} {path}")]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("decompress it")]
    Decompress(#[source] io::Error),
    #[error("read it as a tar archive")]
    Tar(#[source] TarError),
    #[error("decompressed it has more than {0} bytes, which is the limit")]
    Bytes(u64),
    #[error("it has more than {0} members, which is the limit")]
    Members(usize),
    #[error("it has no file `{0}`")]
    Missing(String),
    #[error("`{name}` has more than {limit} bytes")]
    TooLong { name: String, limit: usize },
}

/// Blobs of a few hundred images.
const MEMBERS_MAX: usize = 100_000;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const LINKS_MAX: usize = 8;

impl Source {
    /// Opens a layout or archive. A compressed archive is decompressed into `scratch` first.
    pub(super) fn open(
        path: &Path,
        scratch: PathBuf,
        limits: &LayerLimits,
    ) -> Result<Source, SourceError> {
        let disk = |action| {
            move |source| SourceError::Disk {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut file = File::open(path).map_err(disk("open"))?;
        if file.metadata().map_err(disk("open"))?.is_dir() {
            return Ok(Source::Directory(file.into()));
        }
        let mut magic = Vec::new();
        (&mut file)
            .take(4)
            .read_to_end(&mut magic)
            .map_err(disk("read"))?;
        let mut kept = None;
        if COMPRESSED.iter().any(|format| magic.starts_with(format)) {
            file = File::open(path).map_err(disk("open"))?;
            let copy = Scratch(scratch);
            let mut plain = File::create_new(&copy.0).map_err(disk("make room for"))?;
            let reader = decompress(&mut file).map_err(SourceError::Decompress)?;
            let copied =
                io::copy(&mut reader.take(limits.bytes + 1), &mut plain).map_err(|error| {
                    match disk_kind(&error) {
                        ErrorKind::Exhausted => disk("make room for")(error),
                        _ => SourceError::Decompress(error),
                    }
                })?;
            if copied > limits.bytes {
                return Err(SourceError::Bytes(limits.bytes));
            }
            file = File::open(&copy.0).map_err(disk("read"))?;
            kept = Some(copy);
        }
        let members = read_members(&file)?;
        Ok(Source::Tar {
            file,
            members,
            _scratch: kept,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.piece(name).is_ok()
    }

    /// The bytes of a file, and how many they are. A name that leads out of a directory does not exist.
    pub(super) fn piece(&self, name: &str) -> Result<(Piece, u64), SourceError> {
        let missing = || SourceError::Missing(name.chars().take(200).collect());
        match self {
            Source::Directory(directory) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let file = rustix::fs::openat2(directory, name, flags, Mode::empty(), inside)
                    .map(File::from)
                    .map_err(|_| missing())?;
                let metadata = file.metadata().map_err(|_| missing())?;
                if !metadata.is_file() {
                    return Err(missing());
                }
                let end = metadata.len();
                Ok((Piece { file, at: 0, end }, end))
            }
            Source::Tar { file, members, .. } => {
                let mut name = clean(name);
                for _ in 0..LINKS_MAX {
                    match members.get(&name).ok_or_else(missing)? {
                        Member::Link(target) => name.clone_from(target),
                        Member::File { at, size } => {
                            let file = file.try_clone().map_err(|source| SourceError::Disk {
                                action: "open again for",
                                path: name.into(),
                                source,
                            })?;
                            let (at, end) = (*at, at + size);
                            return Ok((Piece { file, at, end }, *size));
                        }
                    }
                }
                Err(missing())
            }
        }
    }

    /// A small file as a whole.
    pub(super) fn document(&self, name: &str, limit: usize) -> Result<Vec<u8>, SourceError> {
        let (mut piece, size) = self.piece(name)?;
        let shown = || name.chars().take(200).collect::<String>();
        if size > limit as u64 {
            return Err(SourceError::TooLong {
                name: shown(),
                limit,
            });
        }
        let mut bytes = Vec::new();
        piece
            .read_to_end(&mut bytes)
            .map_err(|source| SourceError::Disk {
                action: "read",
                path: shown().into(),
                source,
            })?;
        Ok(bytes)
    }
}

fn read_members(file: &File) -> Result<HashMap<String, Member>, SourceError> {
    let reader = io::BufReader::with_capacity(256 * 1024, file);
    let mut reader = reader;
    io::Seek::rewind(&mut reader)
        .map_err(TarError::Read)
        .map_err(SourceError::Tar)?;
    let mut archive = TarReader::new(reader, HEADER_BYTES_MAX);
    let mut members = HashMap::new();
    while let Some(entry) = archive.next_entry().map_err(SourceError::Tar)? {
        let Ok(name) = String::from_utf8(entry.path) else {
            continue;
        };
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
        let member = match entry.kind {
            EntryKind::File if entry.segments.is_none() => Member::File {
                at: archive.position(),
                size: entry.size,
            },
            EntryKind::Symlink(target) => {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                Member::Link(clean(&format!("{directory}/{}", text(target))))
            }
            EntryKind::HardLink(target) => Member::Link(clean(&text(target))),
            _ => continue,
        };
        members.insert(clean(&name), member);
        if members.len() > MEMBERS_MAX {
            return Err(SourceError::Members(MEMBERS_MAX));
        }
    }
    Ok(members)
}

/// `./a/../b` is `b`; names are only looked up, so leading out of the archive merely finds nothing.
fn clean(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
