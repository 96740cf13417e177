//! The few kernel calls that no safe crate offers: forking, namespaces of one's own, signals as a descriptor, seccomp
//! filters, mount attributes, loop devices, tunnel interfaces, datagrams by the dozen.
//!
//! This is the only crate of Mayfly that may hold `unsafe` code. Every block says why it is sound and why no safe call
//! would do; every function is run by a test of this crate or, where it needs a machine around it, by the tests in
//! `bin/mayfly-init/tests`. What rustix offers safely is used from there and not repeated here.

mod arguments;
mod datagrams;
mod descriptors;
mod ext4;
mod fork;
mod listen_fds;
mod loop_device;
mod loopback;
mod mount_attributes;
mod seccomp;
mod signals;
mod transparent;
mod tun;

pub use arguments::replace_arguments;
pub use datagrams::{Arrivals, Departures};
pub use descriptors::{close_inherited, continue_alone};
pub use ext4::resize_ext4;
pub use fork::{Fork, Namespaces, fork, unshare};
pub use listen_fds::take_listen_fds;
pub use loop_device::{LoopAccess, attach_loop_device, grow_loop_device};
pub use loopback::raise_loopback;
pub use mount_attributes::{MountAttributes, set_mount_attributes};
pub use seccomp::{Instruction, install_seccomp_filter};
pub use signals::{ReceivedSignal, SignalFd, default_signals};
pub use transparent::make_transparent;
pub use tun::{let_fragment, open_tun};

use std::io;

/// The result of a libc call that reports failure as -1.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
