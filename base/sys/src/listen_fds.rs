use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt;

/// sd_listen_fds(3): the first descriptor that is passed on.
const FIRST: RawFd = 3;
const MOST: RawFd = 256;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The listening TCP sockets this process was started with, by the convention of sd_listen_fds(3); what else was passed
/// on in their place is closed. Must be called before this process opens descriptors of its own. Only the first call
/// returns any.
pub fn take_listen_fds() -> Vec<TcpListener> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    // Meant for this very process, not for a child that inherited the variables.
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = RawFd::try_from(number("LISTEN_FDS").unwrap_or(0)).unwrap_or(0);
    (FIRST..FIRST + count.min(MOST))
        .filter(|number| {
            // SAFETY: asks about a number, which need not be open. rustix takes borrowed descriptors only, and whether
            // there is one to borrow is the question. Run by `restarts_refuse_nobody` of check/conformance.
            unsafe { libc::fcntl(*number, libc::F_GETFD) != -1 }
        })
        .map(|number| {
            // SAFETY: it is open, and by the convention handed to this process, which opens others only after this
            // call, and of which only the first gets here: there is no other owner. No safe call makes an owner of a
            // number. Run by the same test.
            unsafe { OwnedFd::from_raw_fd(number) }
        })
        .filter(|descriptor| fcntl_setfd(descriptor, FdFlags::CLOEXEC).is_ok())
        .filter(|descriptor| sockopt::socket_acceptconn(descriptor).unwrap_or(false))
        .map(TcpListener::from)
        .filter(|listener| listener.local_addr().is_ok())
        .collect()
}
