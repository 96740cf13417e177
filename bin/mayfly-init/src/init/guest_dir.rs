use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use crate::failure::{Failure, While};

/// A machine's root directory, worked on from outside without ever leaving it.
///
/// The image and the volumes belong to the user, so any path in them may be a symbolic link to anywhere. Every path is
/// resolved by the kernel with this directory as root and without the magic links of /proc.
#[derive(Debug)]
pub(crate) struct GuestDir(OwnedFd);

impl GuestDir {
    pub(crate) fn new(root: OwnedFd) -> Self {
        GuestDir(root)
    }

    /// Opens what is at `path` without reading it.
    pub(crate) fn find(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::empty())
    }

    /// Opens the directory at `path` itself: a symbolic link anywhere in it is an error.
    pub(crate) fn find_plain_dir(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        self.open(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    fn open(&self, path: &str, flags: OFlags, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        rustix::io::retry_on_intr(|| {
            openat2(
                &self.0,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            )
        })
    }

    /// Makes the directory at `path` and those above it (mode 0755, root's) as far as they are missing, and opens it.
    pub(crate) fn make_dirs(&self, path: &str) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut made = String::new();
        let mut dir = self
            .open("", flags, ResolveFlags::empty())
            .when("open the root directory")?;
        for part in parts(path)? {
            made.push('/');
            made.push_str(part);
            dir = match self.open(&made, flags, ResolveFlags::empty()) {
                Err(Errno::NOENT) => {
                    mkdirat(&dir, part, Mode::from_raw_mode(0o755))
                        .when(format_args!("make directory {made}"))?;
                    self.open(&made, flags, ResolveFlags::empty())
                        .when(format_args!("open directory {made}"))?
                }
                other => other.when(format_args!("open directory {made}"))?,
            };
        }
        Ok(dir)
    }

    /// Puts a file of root's at `path`, in place of what is there unless that is a directory.
    pub(crate) fn place(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        let attempt = format_args!("place file {path}");
        match unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).when(attempt),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let mut file = File::from(openat(&dir, name, flags, mode).when(attempt)?);
        file.write_all(content).when(attempt)?;
        // The mask, if there is one, is not the user's.
        rustix::fs::fchmod(&file, mode).when(attempt)
    }

    /// Removes the file or empty directory at `path`; an absent one is fine.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Failure> {
        let Ok((dir, name)) = self.existing_parent(path) else {
            return Ok(());
        };
        let is_dir = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(_) => return Ok(()),
        };
        let flags = if is_dir {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        unlinkat(&dir, name, flags).when(format_args!("remove {path}"))
    }

    /// The regular file at `path`, at most `limit` bytes of it; `None` if there is none.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
        // Not waiting for a writer, should it be a pipe.
        let file = self.open(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK,
            ResolveFlags::empty(),
        );
        let file = File::from(file.ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content).ok()?;
        Some(content)
    }

    fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Failure> {
        let (dir, name) = split(path)?;
        Ok((self.make_dirs(dir)?, name))
    }

    fn existing_parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Failure> {
        let (dir, name) = split(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let dir = self
            .open(dir, flags, ResolveFlags::empty())
            .when(format_args!("open directory {dir}"))?;
        Ok((dir, name))
    }
}

impl AsFd for GuestDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The parts of an absolute path.
fn parts(path: &str) -> Result<Vec<&str>, Failure> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") || path.contains('\0') {
        return Err(Failure(format!(
            "path {path:?} is not absolute and free of `..`"
        )));
    }
    Ok(parts)
}

fn split(path: &str) -> Result<(&str, &str), Failure> {
    parts(path)?;
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name == "." {
        return Err(Failure(format!("path {path:?} names no file")));
    }
    Ok((dir, name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn guest(dir: &tempfile::TempDir) -> GuestDir {
        fs::create_dir(dir.path().join("root")).unwrap();
        GuestDir::new(File::open(dir.path().join("root")).unwrap().into())
    }

    #[test]
    fn files_land_inside_whatever_the_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let guest = guest(&dir);
        let root = dir.path().join("root");
        fs::create_dir(dir.path().join("outside")).unwrap();
        symlink(dir.path().join("outside"), root.join("absolute")).unwrap();
        symlink("../../outside", root.join("relative")).unwrap();
        symlink("/proc/self/root/tmp", root.join("magic")).unwrap();
        fs::write(dir.path().join("outside/target"), "kept").unwrap();
        symlink(dir.path().join("outside/target"), root.join("file")).unwrap();

        for link in ["/absolute", "/relative", "/magic"] {
            let _ = guest.place(&format!("{link}/new"), b"x", 0o644);
        }
        guest.place("/file", b"mine", 0o600).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
        assert_eq!(
            fs::read(dir.path().join("outside/target")).unwrap(),
            b"kept"
        );
        assert!(root.join("file").symlink_metadata().unwrap().is_file());
        assert!(!std::path::Path::new("/tmp/new").exists());
        assert_eq!(guest.read("/file", 2).unwrap(), b"mi");
        assert!(guest.read("/absolute/target", 10).is_none());
    }

    #[test]
    fn parents_modes_and_removal() {
        let dir = tempfile::tempdir().unwrap();
        let guest = guest(&dir);
        let path = dir.path().join("root/a/b/c");
        guest.place("/a/b//c", b"one", 0o4711).unwrap();
        guest.place("/a/b/./c", b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o640
        );
        assert!(guest.place("/a/b", b"", 0o644).is_err());
        guest.remove("/a/b/c").unwrap();
        guest.remove("/a/b/c").unwrap();
        guest.remove("/x/y/z").unwrap();
        guest.remove("/a/b").unwrap();
        assert!(!dir.path().join("root/a/b").exists());
    }

    #[test]
    fn odd_paths_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let guest = guest(&dir);
        for path in ["", "/", "/a/../b", "..", "/a/..", "/a/.", "/a/"] {
            assert!(guest.place(path, b"", 0o644).is_err(), "{path:?}");
        }
    }
}
