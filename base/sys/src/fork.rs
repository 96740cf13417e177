use std::io;

use rustix::process::Pid;

use crate::checked;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    Parent { child: Pid },
    Child,
}

/// Splits this process in two.
///
/// # Errors
/// `InvalidInput` in a process with more than one thread, where the child could find the allocator locked for ever.
pub fn fork() -> io::Result<Fork> {
    // The kernel refuses this, without doing anything, to a process with several threads.
    // SAFETY: unsharing CLONE_THREAD alone never changes anything; the call only tests. rustix's unshare does not take it.
    // Run by `fork_is_refused_beside_threads`.
    checked(unsafe { libc::unshare(libc::CLONE_THREAD) })?;
    // SAFETY: this is the only thread, so the child's memory is a consistent copy in which no lock is held by a thread
    // that does not exist. No safe crate offers fork. Run by every test of bin/mayfly-init.
    let pid = checked(unsafe { libc::fork() })?;
    Ok(match Pid::from_raw(pid) {
        Some(child) => Fork::Parent { child },
        None => Fork::Child,
    })
}

/// Namespaces to leave for new ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces {
    /// The caller stays where it is; its next child is the first process of the new one.
    pub pid: bool,
    pub mount: bool,
    pub uts: bool,
    pub ipc: bool,
    pub network: bool,
    pub cgroup: bool,
    /// Of a process with one thread.
    pub user: bool,
}

/// Moves this process (its next child, for `pid`) into new namespaces.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    let flags = [
        (namespaces.pid, libc::CLONE_NEWPID),
        (namespaces.mount, libc::CLONE_NEWNS),
        (namespaces.uts, libc::CLONE_NEWUTS),
        (namespaces.ipc, libc::CLONE_NEWIPC),
        (namespaces.network, libc::CLONE_NEWNET),
        (namespaces.cgroup, libc::CLONE_NEWCGROUP),
        (namespaces.user, libc::CLONE_NEWUSER),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .fold(0, |flags, (_, flag)| flags | flag);
    // SAFETY: namespaces do not affect memory or descriptors of this process; rustix marks its unshare unsafe only for
    // CLONE_FILES, which cannot be asked for here. Run by every test of bin/mayfly-init.
    checked(unsafe { libc::unshare(flags) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fork_is_refused_beside_threads() {
        // The test runner's own thread is the second one.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        let error = fork().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drop(stop);
        assert!(other.join().unwrap().is_err());
    }
}
