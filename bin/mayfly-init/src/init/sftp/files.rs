use std::collections::HashMap;
use std::fs::{self, File, ReadDir};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::attributes::Attributes;

/// Files and directories open at once; OpenSSH's clients need a handful.
const HANDLES_MAX: usize = 256;

/// What a handle stands for.
pub(super) enum Open {
    File(File),
    Directory(Entries),
}

/// Everything a client has open, by the handles it was given.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<[u8; 4], Open>,
    next: u32,
}

impl Handles {
    pub(super) fn open(&mut self, open: Open) -> io::Result<[u8; 4]> {
        if self.open.len() >= HANDLES_MAX {
            return Err(io::Error::other("too many open files"));
        }
        let handle = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, open);
        Ok(handle)
    }

    pub(super) fn file(&self, handle: &[u8]) -> io::Result<&File> {
        match self.open.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(io::Error::other("no such open file")),
        }
    }

    pub(super) fn directory(&mut self, handle: &[u8]) -> io::Result<&mut Entries> {
        match self.open.get_mut(handle) {
            Some(Open::Directory(entries)) => Ok(entries),
            _ => Err(io::Error::other("no such open directory")),
        }
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> io::Result<()> {
        let closed = self.open.remove(handle);
        closed
            .map(drop)
            .ok_or_else(|| io::Error::other("no such handle"))
    }
}

/// A directory being read; `.` and `..` come first.
pub(super) struct Entries {
    dots: Vec<(Vec<u8>, Attributes)>,
    rest: ReadDir,
}

impl Entries {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let rest = fs::read_dir(path)?;
        let dot = |name: &str| {
            let found = fs::metadata(path.join(name)).ok()?;
            Some((name.as_bytes().to_vec(), Attributes::of(&found)))
        };
        Ok(Entries {
            dots: ["..", "."].into_iter().filter_map(dot).collect(),
            rest,
        })
    }

    /// Up to `most` more; none at the end.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Vec<(Vec<u8>, String, Attributes)>> {
        let mut some = Vec::new();
        while let Some((name, attributes)) = self.dots.pop() {
            let line = String::from_utf8_lossy(&name).into_owned();
            some.push((name, line, attributes));
        }
        while some.len() < most
            && let Some(entry) = self.rest.next()
        {
            let entry = entry?;
            // An entry that has just gone is none.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let name = entry.file_name();
            let line = line(&name.as_bytes().escape_ascii().to_string(), &found);
            some.push((name.into_vec(), line, Attributes::of(&found)));
        }
        Ok(some)
    }
}

/// As `ls -l` without the date, which clients render themselves.
fn line(name: &str, found: &fs::Metadata) -> String {
    let mode = found.mode();
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFCHR => 'c',
        libc::S_IFBLK => 'b',
        libc::S_IFIFO => 'p',
        libc::S_IFSOCK => 's',
        _ => '-',
    };
    let rights: String = (0..9)
        .map(|place| match mode & (0o400 >> place) {
            0 => '-',
            _ => ['r', 'w', 'x'][place % 3],
        })
        .collect();
    format!(
        "{kind}{rights} {:>4} {:<8} {:<8} {:>8} {name}",
        found.nlink(),
        found.uid(),
        found.gid(),
        found.size()
    )
}
