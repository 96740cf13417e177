use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::checked;

/// Work that the kernel leaves to the reader: checksums, and cutting of TCP over IPv4 and IPv6. linux/if_tun.h.
const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04;

/// Makes the interface `name` whose packets this process reads and writes, each behind a `struct virtio_net_hdr` of 10
/// bytes; packets of TCP may be as long as IP allows. It goes away with the descriptor, which does not block.
///
/// # Errors
/// `InvalidInput` for a name the kernel would cut. `ResourceBusy` if the interface exists and is another process's.
pub fn open_tun(name: &str) -> io::Result<OwnedFd> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let device = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data for which all zeros is valid; the name is shorter than its field and so ends with a
    // zero. The kernel reads and writes the structure within its size while it is borrowed here. rustix has no TUN
    // devices, and an ioctl needs unsafe. Run by the tests of parts/wireguard.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        for (target, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *target = byte as libc::c_char;
        }
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        checked(libc::ioctl(
            device.as_raw_fd(),
            libc::TUNSETIFF,
            &raw mut request,
        ))?;
        checked(libc::ioctl(
            device.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            OFFLOADS,
        ))?;
    }
    Ok(device.into())
}

/// Lets the datagrams of a UDP socket be cut into fragments where the way is narrow, instead of being refused.
pub fn let_fragment(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    let set = |level, option, value: libc::c_int| {
        // SAFETY: the kernel reads one c_int, alive during the call. rustix does not know these options. Run by the tests
        // of parts/wireguard.
        checked(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                mem::size_of::<libc::c_int>() as libc::socklen_t,
            )
        })
    };
    set(
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_DONT,
    )?;
    let ipv6 = set(
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::IPV6_PMTUDISC_DONT,
    )
    .and_then(|_| set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0));
    match ipv6 {
        // A socket of IPv4 alone has no such option.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other.map(drop),
    }
}
