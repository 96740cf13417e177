use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::checked;

/// `_IOW('f', 16, __u64)`, as Documentation/filesystems/ext4/ says.
const EXT4_IOC_RESIZE_FS: libc::Ioctl = 0x4008_6610;

/// Lets a mounted ext4 filesystem grow to `blocks` of its blocks. `inside` is anything open in it.
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_RESOURCE, which containers often lack.
pub fn resize_ext4(inside: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads the number within its size while it is borrowed here. rustix has no ioctls of
    // filesystems. Run by the volume tests of parts/driver.
    let resized = unsafe {
        libc::ioctl(
            inside.as_fd().as_raw_fd(),
            EXT4_IOC_RESIZE_FS,
            &raw const blocks,
        )
    };
    checked(resized).map(drop)
}
