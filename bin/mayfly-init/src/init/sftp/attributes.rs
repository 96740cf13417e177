use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, futimens, utimensat};

use super::packet::{Answer, Fields, Malformed};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const MODE: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What is known of a file, or is to be changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    size: Option<u64>,
    owner: Option<(u32, u32)>,
    /// With the kind of the file in its upper bits.
    mode: Option<u32>,
    /// Last access and last change, in seconds.
    times: Option<(u32, u32)>,
}

impl Attributes {
    pub(super) fn of(found: &Metadata) -> Self {
        let seconds = |time: i64| u32::try_from(time).unwrap_or(0);
        Attributes {
            size: Some(found.size()),
            owner: Some((found.uid(), found.gid())),
            mode: Some(found.mode()),
            times: Some((seconds(found.atime()), seconds(found.mtime()))),
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let flags = fields.u32()?;
        let mut read = Attributes::default();
        if flags & SIZE != 0 {
            read.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            read.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & MODE != 0 {
            read.mode = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            read.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(read)
    }

    pub(super) fn write(&self, answer: Answer) -> Answer {
        let flag = |there: bool, flag| if there { flag } else { 0 };
        let mut answer = answer.u32(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), OWNER)
                | flag(self.mode.is_some(), MODE)
                | flag(self.times.is_some(), TIMES),
        );
        if let Some(size) = self.size {
            answer = answer.u64(size);
        }
        if let Some((user, group)) = self.owner {
            answer = answer.u32(user).u32(group);
        }
        if let Some(mode) = self.mode {
            answer = answer.u32(mode);
        }
        if let Some((access, change)) = self.times {
            answer = answer.u32(access).u32(change);
        }
        answer
    }

    /// Permissions alone.
    pub(super) fn mode(&self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o7777)
    }

    pub(super) fn apply(&self, path: &Path) -> io::Result<()> {
        if let Some(size) = self.size {
            OpenOptions::new().write(true).open(path)?.set_len(size)?;
        }
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group))?;
        }
        if let Some(mode) = self.mode() {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        if let Some(times) = self.timestamps() {
            utimensat(CWD, path, &times, AtFlags::empty())?;
        }
        Ok(())
    }

    pub(super) fn apply_to(&self, file: &File) -> io::Result<()> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::fchown(file, Some(user), Some(group))?;
        }
        if let Some(mode) = self.mode() {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        if let Some(times) = self.timestamps() {
            futimens(file.as_fd(), &times)?;
        }
        Ok(())
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let at = |seconds: u32| Timespec {
            tv_sec: seconds.into(),
            tv_nsec: 0,
        };
        self.times.map(|(access, change)| Timestamps {
            last_access: at(access),
            last_modification: at(change),
        })
    }
}
