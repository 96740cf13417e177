//! A file as overlayfs would show it, looked up in the layers without mounting them.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, openat2};
use rustix::io::Errno;

/// Nothing that is opened leads out of the layer, to another filesystem or through a link.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// What lies at a path.
#[derive(Debug)]
pub(super) enum Found {
    File(LayerFile),
    Directory,
    Nothing,
}

/// A regular file of a layer.
#[derive(Debug)]
pub(super) struct LayerFile {
    pub(super) file: File,
    pub(super) length: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// Name of the layer's directory: its content's digest.
    pub(super) layer: String,
}

/// Looks `path` up in `layers`, topmost first.
///
/// # Errors
/// What reading a layer's directories failed with, but for what means that there is no file.
pub(super) fn find(layers: &[PathBuf], path: &[String]) -> io::Result<Found> {
    let mut below = false;
    for layer in layers {
        match find_in(layer, path)? {
            InLayer::File(found) => return Ok(Found::File(found)),
            InLayer::Directory { opaque } => {
                below = true;
                if opaque {
                    break;
                }
            }
            InLayer::Hidden => break,
            InLayer::Absent { hidden_below } => {
                if hidden_below {
                    break;
                }
            }
        }
    }
    Ok(if below {
        Found::Directory
    } else {
        Found::Nothing
    })
}

enum InLayer {
    File(LayerFile),
    Directory {
        opaque: bool,
    },
    /// Deleted here, or in the way is something that is no directory.
    Hidden,
    Absent {
        hidden_below: bool,
    },
}

fn find_in(layer: &Path, path: &[String]) -> io::Result<InLayer> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut current = rustix::fs::open(layer, directory, Mode::empty())?;
    let mut opaque = false;
    for (index, name) in path.iter().enumerate() {
        // A device would act on being opened, a pipe would wait: look first.
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let looked = match openat2(&current, name.as_str(), look, Mode::empty(), INSIDE) {
            Ok(looked) => looked,
            Err(Errno::NOENT | Errno::NAMETOOLONG) => {
                return Ok(InLayer::Absent {
                    hidden_below: opaque,
                });
            }
            // A link, or the way to another filesystem.
            Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => return Ok(InLayer::Hidden),
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(fstat(&looked)?.st_mode);
        let last = index + 1 == path.len();
        match kind {
            FileType::Directory => {
                current = openat2(&current, name.as_str(), directory, Mode::empty(), INSIDE)?;
                opaque |= is_opaque(&current);
            }
            FileType::RegularFile if last => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat2(&current, name.as_str(), flags, Mode::empty(), INSIDE)?;
                let file = File::from(file);
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Ok(InLayer::Hidden);
                }
                let name = layer.file_name().unwrap_or_default();
                return Ok(InLayer::File(LayerFile {
                    length: metadata.len(),
                    modified: metadata.mtime(),
                    file,
                    layer: name.to_string_lossy().into_owned(),
                }));
            }
            // A whiteout is a character device 0/0; a link or a file on the way is no way.
            _ => return Ok(InLayer::Hidden),
        }
    }
    Ok(InLayer::Directory { opaque })
}

/// Whether the directory hides those of the same name below (the kernel's overlayfs documentation).
fn is_opaque(directory: &rustix::fd::OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    matches!(fgetxattr(directory, "trusted.overlay.opaque", &mut value), Ok(1) if value[0] == b'y')
}
