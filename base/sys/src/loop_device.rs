use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use crate::checked;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
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

/// Presents `image` as a block device that goes away with its last user. Returns its path and a descriptor that keeps
/// it until it is mounted.
pub fn attach_loop_device(image: impl AsFd) -> io::Result<(PathBuf, File)> {
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
            block_size: 0,
            info_device: [0; 5],
            info_kind: [0; 3],
            info_flags: LO_FLAGS_AUTOCLEAR,
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
