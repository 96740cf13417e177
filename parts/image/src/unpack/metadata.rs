use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::EntryError;
use crate::tar::Entry;

const OPAQUE: &str = "trusted.overlay.opaque";

pub(super) fn failed(action: &'static str) -> impl FnOnce(Errno) -> EntryError {
    move |source| EntryError::Write { action, source }
}

pub(super) fn name_of(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Makes overlayfs hide what lower layers have in this directory.
pub(super) fn set_opaque(directory: BorrowedFd<'_>) -> Result<(), EntryError> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
        .map_err(failed("make the directory opaque"))
}

/// Owner, mode and attributes of a file or directory. Owner first: changing it clears setuid and capabilities.
pub(super) fn describe(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), EntryError> {
    rustix::fs::fchown(
        fd,
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )
    .map_err(failed("set its owner"))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(failed("set its mode"))?;
    for (name, value) in &entry.xattrs {
        if is_wanted(name) {
            match rustix::fs::fsetxattr(fd, name_of(name), value, XattrFlags::empty()) {
                // A filesystem without attributes of users is no reason to refuse an image.
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
                other => other.map_err(failed("set an extended attribute"))?,
            }
        }
    }
    Ok(())
}

/// Capabilities of programs, and what users attach. Everything else would speak to the kernel or to overlayfs in the
/// name of the host.
fn is_wanted(attribute: &[u8]) -> bool {
    attribute == b"security.capability"
        || (attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay."))
}

pub(super) fn own_and_date(
    parent: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), EntryError> {
    rustix::fs::chownat(
        parent,
        name_of(name),
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(failed("set its owner"))?;
    rustix::fs::utimensat(
        parent,
        name_of(name),
        &times(entry.mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(failed("set its time"))
}

pub(super) fn set_times(fd: BorrowedFd<'_>, mtime: (i64, u32)) -> Result<(), EntryError> {
    rustix::fs::futimens(fd, &times(mtime)).map_err(failed("set its time"))
}

pub(super) fn times((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
