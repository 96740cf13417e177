use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use crate::checked;

/// Lets an IPv6 socket listen on an address that is not this system's, and accept what is led to it
/// (`Documentation/networking/tproxy.rst` of the kernel). Needs CAP_NET_ADMIN.
pub fn make_transparent(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int that lives through the call, and its size is given. rustix does not have this
    // option. Run by the tests of parts/mesh that reach a machine's shell door.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_IPV6,
            libc::IPV6_TRANSPARENT,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    checked(result).map(drop)
}
