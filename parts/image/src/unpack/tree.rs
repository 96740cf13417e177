use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::metadata::{describe, failed, name_of, own_and_date, set_opaque, set_times, times};
use super::path::EntryPath;
use super::{EntryError, shown};
use crate::tar::{Entry, Segment, TarError, TarReader};

/// The directory a layer is unpacked into. Every name is resolved by the kernel with this directory as root, so that
/// no link in the layer leads out of it. Nobody else changes the directory meanwhile.
pub(super) struct Tree {
    root: OwnedFd,
    /// The directory used last: entries of one directory follow each other.
    current: Option<(Vec<u8>, OwnedFd)>,
    /// Written once everything is in place, since every new entry touches its directory.
    directory_times: HashMap<Vec<u8>, (i64, u32)>,
    implied_directories: u64,
    buffer: Box<[u8]>,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// Links are followed, but as if the layer were the whole filesystem.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Tree, Errno> {
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?;
        Ok(Tree {
            root,
            current: None,
            directory_times: HashMap::new(),
            implied_directories: 0,
            buffer: vec![0; 256 * 1024].into_boxed_slice(),
        })
    }

    /// Directories that were made because something was put into them.
    pub(super) fn implied_directories(&self) -> u64 {
        self.implied_directories
    }

    /// Sets what the archive says about the top directory.
    pub(super) fn describe_root(&mut self, entry: &Entry) -> Result<(), EntryError> {
        describe(self.root.as_fd(), entry)?;
        self.directory_times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    pub(super) fn directory(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), EntryError> {
        let parent_fd = self.parent(parent)?;
        let made = match rustix::fs::mkdirat(&parent_fd, name_of(name), Mode::RWXU) {
            Ok(()) => Made::New,
            Err(Errno::EXIST) => match kind_of(parent_fd.as_fd(), name)? {
                Existing::Directory => Made::Found,
                Existing::Whiteout => {
                    self.remove(&parent_fd, name)?;
                    mkdir(parent_fd.as_fd(), name)?;
                    Made::OverWhiteout
                }
                Existing::Other => {
                    self.remove(&parent_fd, name)?;
                    mkdir(parent_fd.as_fd(), name)?;
                    Made::New
                }
            },
            Err(source) => {
                return Err(EntryError::Write {
                    action: "create the directory",
                    source,
                });
            }
        };
        let fd = open_directory(parent_fd.as_fd(), name)?;
        describe(fd.as_fd(), entry)?;
        if made == Made::OverWhiteout {
            set_opaque(fd.as_fd())?;
        }
        self.directory_times
            .insert(joined(parent, name), entry.mtime);
        self.done(parent, parent_fd);
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
        archive: &mut TarReader<impl Read>,
    ) -> Result<(), EntryError> {
        let parent_fd = self.parent(parent)?;
        let create = || {
            rustix::fs::openat(
                &parent_fd,
                name_of(name),
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::RUSR | Mode::WUSR,
            )
        };
        let fd = match create() {
            Err(Errno::EXIST) => {
                self.remove(&parent_fd, name)?;
                create()
            }
            other => other,
        };
        let file = File::from(fd.map_err(failed("create the file"))?);
        match &entry.segments {
            Some(segments) => self.fill_sparse(&file, segments, entry.size, archive)?,
            None => self.fill(&file, 0, entry.size, archive)?,
        }
        describe(file.as_fd(), entry)?;
        set_times(file.as_fd(), entry.mtime)?;
        self.done(parent, parent_fd);
        Ok(())
    }

    pub(super) fn symlink(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
        target: &[u8],
    ) -> Result<(), EntryError> {
        let parent_fd = self.parent(parent)?;
        let create = || rustix::fs::symlinkat(name_of(target), &parent_fd, name_of(name));
        match create() {
            Err(Errno::EXIST) => {
                self.remove(&parent_fd, name)?;
                create()
            }
            other => other,
        }
        .map_err(failed("create the symbolic link"))?;
        own_and_date(parent_fd.as_fd(), name, entry)?;
        self.done(parent, parent_fd);
        Ok(())
    }

    pub(super) fn fifo(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), EntryError> {
        let parent_fd = self.parent(parent)?;
        let create = || {
            rustix::fs::mknodat(
                &parent_fd,
                name_of(name),
                FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )
        };
        match create() {
            Err(Errno::EXIST) => {
                self.remove(&parent_fd, name)?;
                create()
            }
            other => other,
        }
        .map_err(failed("create the pipe"))?;
        own_and_date(parent_fd.as_fd(), name, entry)?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&parent_fd, name_of(name), mode, AtFlags::empty())
            .map_err(failed("set its mode"))?;
        self.done(parent, parent_fd);
        Ok(())
    }

    pub(super) fn hard_link(
        &mut self,
        parent: &[u8],
        name: &[u8],
        target: &EntryPath,
        shown_target: &[u8],
    ) -> Result<(), EntryError> {
        let nothing = || EntryError::LinkToNothing(shown(shown_target));
        let other = || EntryError::LinkToOther(shown(shown_target));
        let (target_parent, target_name) = target.split().ok_or_else(other)?;
        let target_fd = self.existing(target_parent).map_err(|_| nothing())?;
        let stat =
            match rustix::fs::statat(&target_fd, name_of(target_name), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(_) => return Err(nothing()),
            };
        if !matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Symlink | FileType::Fifo
        ) {
            return Err(other());
        }
        let parent_fd = self.parent(parent)?;
        let create = || {
            rustix::fs::linkat(
                &target_fd,
                name_of(target_name),
                &parent_fd,
                name_of(name),
                AtFlags::empty(),
            )
        };
        match create() {
            Err(Errno::EXIST) => {
                let there =
                    rustix::fs::statat(&parent_fd, name_of(name), AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(failed("look at what is there"))?;
                // A link to itself, or one that exists: removing it could remove the file.
                if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) {
                    Ok(())
                } else {
                    self.remove(&parent_fd, name)?;
                    create()
                }
            }
            done => done,
        }
        .map_err(failed("create the hard link"))?;
        self.done(parent, parent_fd);
        Ok(())
    }

    /// Hides what lower layers have under this name. What this layer has there itself stays, and hides it too.
    pub(super) fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<(), EntryError> {
        let parent_fd = self.parent(parent)?;
        let made = rustix::fs::mknodat(
            &parent_fd,
            name_of(name),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        );
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if kind_of(parent_fd.as_fd(), name)? == Existing::Directory {
                    set_opaque(open_directory(parent_fd.as_fd(), name)?.as_fd())?;
                }
            }
            Err(source) => {
                return Err(EntryError::Write {
                    action: "create the whiteout",
                    source,
                });
            }
        }
        self.done(parent, parent_fd);
        Ok(())
    }

    /// Hides everything lower layers have in this directory.
    pub(super) fn opaque(&mut self, directory: &[u8]) -> Result<(), EntryError> {
        let fd = self.parent(directory)?;
        set_opaque(fd.as_fd())?;
        self.done(directory, fd);
        Ok(())
    }

    /// Writes the times of directories and flushes everything to the disk.
    pub(super) fn finish(self) -> Result<(), Errno> {
        for (path, mtime) in &self.directory_times {
            // A directory may have been replaced by something else since.
            if let Ok(fd) = open_inside(&self.root, path) {
                rustix::fs::futimens(&fd, &times(*mtime))?;
            }
        }
        rustix::fs::syncfs(&self.root)
    }

    /// The directory an entry goes into, made if the archive did not mention it. Give it back with [`Tree::done`].
    fn parent(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        match self.current.take() {
            Some((current, fd)) if current == path => return Ok(fd),
            _ => {}
        }
        match self.existing(path) {
            Err(Errno::NOENT) => self.make_parents(path),
            Err(Errno::NOTDIR) => self.make_parents(path),
            Err(Errno::LOOP) => Err(EntryError::Parent),
            other => other.map_err(failed("open its directory")),
        }
    }

    fn done(&mut self, path: &[u8], fd: OwnedFd) {
        self.current = Some((path.to_vec(), fd));
    }

    fn existing(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        open_inside(&self.root, path)
    }

    /// Makes every directory on the way, as root's and readable for all. A whiteout on the way becomes an opaque
    /// directory: it hides what lower layers have there, and holds what this one puts there.
    fn make_parents(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        let mut at = open_inside(&self.root, b"").map_err(failed("open the layer"))?;
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end)
            .chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let name = &path[start..end];
            start = end + 1;
            match rustix::fs::mkdirat(&at, name_of(name), Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    self.implied_directories += 1;
                    let made = open_directory(at.as_fd(), name)?;
                    let mode = Mode::from_raw_mode(0o755);
                    rustix::fs::fchmod(&made, mode).map_err(failed("set its mode"))?;
                }
                Err(Errno::EXIST) => {
                    if kind_of(at.as_fd(), name)? == Existing::Whiteout {
                        self.remove(&at, name)?;
                        mkdir(at.as_fd(), name)?;
                        self.implied_directories += 1;
                        let made = open_directory(at.as_fd(), name)?;
                        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))
                            .map_err(failed("set its mode"))?;
                        set_opaque(made.as_fd())?;
                    }
                }
                Err(source) => {
                    return Err(EntryError::Write {
                        action: "create its directory",
                        source,
                    });
                }
            }
            // From the top, so that links on the way are resolved as for any other entry.
            at = open_inside(&self.root, &path[..end]).map_err(|_| EntryError::Parent)?;
        }
        Ok(at)
    }

    /// Removes what is under this name, with everything in it. Links are removed, not followed.
    fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), EntryError> {
        match rustix::fs::unlinkat(parent, name_of(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                let path = Path::new("/proc/self/fd")
                    .join(parent.as_raw_fd().to_string())
                    .join(name_of(name));
                std::fs::remove_dir_all(path).map_err(|error| EntryError::Write {
                    action: "replace the directory",
                    source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
                })
            }
            Err(source) => Err(EntryError::Write {
                action: "replace what is there",
                source,
            }),
        }
    }

    fn fill(
        &mut self,
        file: &File,
        mut offset: u64,
        mut left: u64,
        archive: &mut TarReader<impl Read>,
    ) -> Result<(), EntryError> {
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let most = most.min(self.buffer.len());
            let count = archive
                .read(&mut self.buffer[..most])
                .map_err(|error| EntryError::Content(content_error(error)))?;
            if count == 0 {
                return Err(EntryError::Content(TarError::Truncated));
            }
            file.write_all_at(&self.buffer[..count], offset)
                .map_err(|error| EntryError::Write {
                    action: "write its content",
                    source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
                })?;
            offset += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    fn fill_sparse(
        &mut self,
        file: &File,
        segments: &[Segment],
        size: u64,
        archive: &mut TarReader<impl Read>,
    ) -> Result<(), EntryError> {
        rustix::fs::ftruncate(file, size).map_err(failed("set its size"))?;
        for segment in segments {
            self.fill(file, segment.offset, segment.length, archive)?;
        }
        Ok(())
    }
}

#[derive(PartialEq)]
enum Made {
    New,
    Found,
    OverWhiteout,
}

#[derive(PartialEq)]
enum Existing {
    Directory,
    Whiteout,
    Other,
}

fn kind_of(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Existing, EntryError> {
    let stat = rustix::fs::statat(parent, name_of(name), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("look at what is there"))?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Existing::Directory,
        // The only devices in here are ours.
        FileType::CharacterDevice => Existing::Whiteout,
        _ => Existing::Other,
    })
}

fn mkdir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), EntryError> {
    rustix::fs::mkdirat(parent, name_of(name), Mode::RWXU).map_err(failed("create the directory"))
}

fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, EntryError> {
    rustix::fs::openat(
        parent,
        name_of(name),
        DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(failed("open the directory"))
}

fn open_inside(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    rustix::fs::openat2(root, name_of(path), DIRECTORY, Mode::empty(), INSIDE)
}

fn joined(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

/// The reader underneath reports the end of the archive as an I/O error, as `Read` wants it.
fn content_error(error: std::io::Error) -> TarError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => TarError::Truncated,
        _ => TarError::Read(error),
    }
}
