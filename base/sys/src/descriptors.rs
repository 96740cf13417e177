use std::io;
use std::os::fd::RawFd;

use crate::checked;

/// Makes all descriptors from `first` on close when this process executes another program.
///
/// A process started by a careless parent calls it so that nothing of the parent's reaches what it starts in turn.
/// Descriptors stay open and usable until then.
pub fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC no descriptor is closed, so no owner of one is deceived. rustix has no
    // close_range. Run by `marked_descriptors_close_on_exec`.
    let result = unsafe {
        libc::close_range(
            first.unsigned_abs(),
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_int,
        )
    };
    checked(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    use super::*;

    #[test]
    fn marked_descriptors_close_on_exec() {
        let file = std::fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        close_from(file.as_raw_fd()).unwrap();
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::CLOEXEC);
    }
}
