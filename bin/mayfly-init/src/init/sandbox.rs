//! A user namespace for a machine's programs, and the container's mounts as they hold in it.
//!
//! Programs in it may mount and unshare, which takes rights over that namespace only: they cannot open the host's disks
//! (no filesystem of a device may be mounted there, no device node made), nor lay bare what was hidden from them (the
//! mounts they were given are locked together).

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;

use mayfly_guest::Sandbox as Launch;
use mayfly_sys::{Fork, Namespaces, fork, unshare};
use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::{Failure, While};

/// The namespaces stay as long as this is kept.
#[derive(Debug)]
pub(crate) struct Sandbox {
    user: OwnedFd,
    mounts: OwnedFd,
    /// What root inside is on the host.
    root: (Uid, Gid),
}

impl Sandbox {
    /// Makes the namespaces, with this process's mounts, by a child that lives no longer than that takes.
    pub(crate) fn make(launch: &Launch) -> Result<Self, Failure> {
        let attempt = "make a user namespace";
        let (said, say) = pipe_with(PipeFlags::CLOEXEC).when(attempt)?;
        let (told, tell) = pipe_with(PipeFlags::CLOEXEC).when(attempt)?;
        match fork().when(attempt)? {
            Fork::Child => {
                drop((said, tell));
                let made = stand_in(&say, &told);
                exit(i32::from(made.is_err()));
            }
            Fork::Parent { child } => {
                drop((say, told));
                let made = Self::of(child, launch, &said, &tell);
                drop(tell);
                waitpid(Some(child), WaitOptions::empty()).when(attempt)?;
                made
            }
        }
    }

    fn of(child: Pid, launch: &Launch, said: &OwnedFd, tell: &OwnedFd) -> Result<Self, Failure> {
        let attempt = "make a user namespace";
        hear(said)?;
        let of_child = |name: &str| format!("/proc/{child}/{name}");
        let map = format!("0 {} {}\n", launch.first_id, launch.ids);
        for name in ["uid_map", "gid_map"] {
            fs::write(of_child(name), &map).when(format_args!("{attempt}: {name}"))?;
        }
        rustix::io::write(tell, &[0]).when(attempt)?;
        hear(said)?;
        let open = |name: &str| File::open(of_child(name)).when(attempt).map(OwnedFd::from);
        Ok(Sandbox {
            user: open("ns/user")?,
            mounts: open("ns/mnt")?,
            root: owner(launch),
        })
    }

    /// Moves this process in. It is nobody there until it says as whom it goes on.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        for (namespace, kind) in [
            (&self.user, LinkNameSpaceType::User),
            (&self.mounts, LinkNameSpaceType::Mount),
        ] {
            move_into_link_name_space(namespace.as_fd(), Some(kind)).when("enter the container")?;
        }
        Ok(())
    }

    /// Makes a stream the root's inside, so that it can be opened again by its name in /dev.
    pub(crate) fn hand_over(&self, stream: impl AsFd) -> Result<(), Failure> {
        let (uid, gid) = self.root;
        fchown(stream, Some(uid), Some(gid)).when("connect the streams")
    }
}

/// What root inside is on the host.
pub(crate) fn owner(launch: &Launch) -> (Uid, Gid) {
    (
        Uid::from_raw(launch.first_id),
        Gid::from_raw(launch.first_id),
    )
}

/// The child: steps into the namespaces and waits until somebody holds them.
fn stand_in(say: &OwnedFd, told: &OwnedFd) -> rustix::io::Result<()> {
    let made = |namespaces| {
        unshare(namespaces).map_err(|error| {
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
        })
    };
    made(Namespaces {
        user: true,
        ..Namespaces::default()
    })?;
    rustix::io::write(say, &[0])?;
    rustix::io::read(told, &mut [0; 1])?;
    made(Namespaces {
        mount: true,
        ..Namespaces::default()
    })?;
    rustix::io::write(say, &[0])?;
    rustix::io::read(told, &mut [0; 1])?;
    Ok(())
}

fn hear(said: &OwnedFd) -> Result<(), Failure> {
    match rustix::io::read(said, &mut [0; 1]).when("make a user namespace")? {
        0 => Err(Failure(
            "make a user namespace: the kernel refuses it (user.max_user_namespaces, \
             kernel.unprivileged_userns_clone)"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}
