//! Network namespaces that live as long as a mount does: the file's path is what others enter them by.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use mayfly_netlink::Socket;
use mayfly_sys::{Namespaces, unshare};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Magic number of the file system of namespaces, `linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Whether `path` keeps a namespace.
pub(crate) fn exists(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u64 == NSFS_MAGIC)
}

/// Makes a namespace, keeps it at `path`, and returns a socket inside it.
///
/// Nothing is set in `/proc/sys/net` here: the host's /proc keeps what every namespace has there under one name, and
/// looks through all of it each time. A machine's init sets what its namespace needs through its own.
pub(crate) fn create(path: &Path) -> io::Result<Socket> {
    File::create(path)?;
    in_own_thread(|| {
        unshare(Namespaces {
            network: true,
            ..Namespaces::default()
        })?;
        mount_bind("/proc/thread-self/ns/net", path)?;
        Socket::route()
    })
}

/// A socket inside the namespace kept at `path`.
pub(crate) fn enter(path: &Path) -> io::Result<Socket> {
    inside(path, Socket::route)
}

/// What `work` comes to inside the namespace kept at `path`.
pub(crate) fn inside<T: Send>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let namespace = File::open(path)?;
    in_own_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Lets the namespace go and removes the file; absent is success.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    while exists(path) {
        unmount(path, UnmountFlags::DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes `directory` a mount of its own whose contents no other mount namespace is told of: a copy elsewhere would keep
/// a namespace alive after its removal here.
pub(crate) fn prepare_directory(directory: &Path) -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    fs::create_dir_all(directory)?;
    if mount_change(directory, MountPropagationFlags::PRIVATE).is_err() {
        mount_bind(directory, directory)?;
        mount_change(directory, MountPropagationFlags::PRIVATE)?;
    }
    Ok(())
}

/// Undoes [`prepare_directory`], also of an earlier daemon in the same place; absent is success.
pub(crate) fn remove_directory(directory: &Path) -> io::Result<()> {
    while unmount(directory, UnmountFlags::DETACH).is_ok() {}
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Another daemon's place may be beside it.
    if let Some(parent) = directory.parent() {
        fs::remove_dir(parent).ok();
    }
    Ok(())
}

/// Namespaces belong to threads: the change ends with the thread that made it.
fn in_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().spawn_scoped(scope, work)?;
        worker
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}
