use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketType, socket};

use crate::checked;

/// Brings up `lo` in this process's network namespace.
pub fn raise_loopback() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data for which all zeros is valid; the name stays terminated by a zero. The kernel reads
    // and writes the structure within its size while it is borrowed here. rustix has no interface flags. Run by the tests
    // of bin/mayfly-init that connect to the machine's own address.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        for (target, byte) in request.ifr_name.iter_mut().zip(b"lo") {
            *target = *byte as libc::c_char;
        }
        checked(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        ))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        checked(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        ))?;
    }
    Ok(())
}
