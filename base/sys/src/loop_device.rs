use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use crate::checked;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_SET_CAPACITY: libc::Ioctl = 0x4C07;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// What disks of today read and write at once; direct access takes whole ones.
const DIRECT_BLOCK_BYTES: u32 = 4096;
/// How often another process may take the free device before us.
const ATTEMPTS: u32 = 64;

/// `struct loop_config` of linux/loop.h, with the fields of `struct loop_info64` we set named.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info_device: [u64; 5],
    info_kind: [u32; 3],
    info_flags: u32,
    info_names: [u8; 64 + 64 + 32],
    info_init: [u64; 2],
    reserved: [u64; 8],
}

/// How a loop device reaches its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopAccess {
    /// By way of the host's cache of files.
    Cached,
    /// Past it where the file's filesystem can do that: what is written is held in memory once, not twice.
    Direct,
}

/// Presents `image` as a block device that goes away with its last user. Returns its path and a descriptor that keeps
/// it until it is mounted.
///
/// The device keeps the open file `image` stands for, and with it what is locked by `flock`, until it goes away.
pub fn attach_loop_device(image: impl AsFd, access: LoopAccess) -> io::Result<(PathBuf, File)> {
    match attach(&image, access) {
        // Of kernels that would rather refuse direct access than do without.
        Err(error)
            if access == LoopAccess::Direct && error.raw_os_error() == Some(libc::EINVAL) =>
        {
            attach(image, LoopAccess::Cached)
        }
        other => other,
    }
}

fn attach(image: impl AsFd, access: LoopAccess) -> io::Result<(PathBuf, File)> {
    let (flags, block_size) = match access {
        LoopAccess::Cached => (LO_FLAGS_AUTOCLEAR, 0),
        LoopAccess::Direct => (LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, DIRECT_BLOCK_BYTES),
    };
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number. rustix has no loop devices, and an ioctl
        // needs unsafe. Run by the disk image test of bin/mayfly-init.
        let number = checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(true).open(&path)?;
        let config = LoopConfig {
            fd: image.as_fd().as_raw_fd().unsigned_abs(),
            block_size,
            info_device: [0; 5],
            info_kind: [0; 3],
            info_flags: flags,
            info_names: [0; 160],
            info_init: [0; 2],
            reserved: [0; 8],
        };
        // SAFETY: the structure has the layout and size of loop_config (checked by `layout`), and the kernel only reads it.
        // Run by the disk image test of bin/mayfly-init.
        let configured =
            checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) });
        match configured {
            Ok(_) => return Ok((path, device)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Makes a loop device as large as its file has become.
pub fn grow_loop_device(device: impl AsFd) -> io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument. rustix has no loop devices. Run by the volume tests of parts/driver.
    checked(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_SET_CAPACITY) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn layout() {
        // linux/loop.h: a loop_info64 of 232 bytes at offset 8, its lo_flags at 52, then 64 reserved bytes.
        assert_eq!(size_of::<LoopConfig>(), 8 + 232 + 64);
        assert_eq!(offset_of!(LoopConfig, info_flags), 8 + 52);
    }
}
