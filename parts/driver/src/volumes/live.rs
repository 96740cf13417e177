use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mayfly_host_api::VolumeSpace;
use mayfly_sys::{grow_loop_device, resize_ext4};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, fstatvfs, major, minor, open, openat2};

use super::superblock::Superblock;

/// The major number of loop devices: Documentation/admin-guide/devices.txt.
const LOOP_MAJOR: u32 = 7;

/// A volume's filesystem as a running machine has it mounted.
#[derive(Debug)]
pub(crate) struct LiveMount {
    inside: OwnedFd,
    loop_number: u32,
}

impl LiveMount {
    /// What is at `path` in the root filesystem of a process; `None` if that is no filesystem of a loop device.
    pub(crate) fn find(pid: u32, path: &str) -> Option<LiveMount> {
        let plain = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(format!("/proc/{pid}/root"), plain, Mode::empty()).ok()?;
        // The image is the user's: links in it lead nowhere else.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let relative = path.trim_start_matches('/');
        let inside = openat2(root, relative, flags, Mode::empty(), resolve).ok()?;
        let device = fstat(&inside).ok()?.st_dev;
        (major(device) == LOOP_MAJOR).then(|| LiveMount {
            inside,
            loop_number: minor(device),
        })
    }

    /// Whether it is this image's, and not of another disk that a program moved to the path.
    pub(super) fn is_of(&self, image: &Path) -> bool {
        let number = self.loop_number;
        let backing = fs::read_to_string(format!("/sys/block/loop{number}/loop/backing_file"));
        backing.is_ok_and(|backing| Path::new(backing.trim_end_matches('\n')) == image)
    }

    pub(super) fn space(&self) -> io::Result<VolumeSpace> {
        let found = fstatvfs(&self.inside)?;
        Ok(VolumeSpace {
            block_size: found.f_frsize,
            blocks: found.f_blocks,
            blocks_free: found.f_bfree,
            blocks_avail: found.f_bavail,
        })
    }

    /// As the kernel has it in memory.
    pub(super) fn superblock(&self) -> io::Result<Superblock> {
        Superblock::read(&File::open(self.device())?)
    }

    /// Lets device and filesystem become as large as the image.
    pub(super) fn fill(&self) -> io::Result<()> {
        let device = File::options().read(true).write(true).open(self.device())?;
        grow_loop_device(&device)?;
        let bytes = rustix::fs::seek(&device, rustix::fs::SeekFrom::End(0))?;
        resize_ext4(&self.inside, self.superblock()?.blocks_of(bytes))
    }

    fn device(&self) -> PathBuf {
        format!("/dev/loop{}", self.loop_number).into()
    }
}
