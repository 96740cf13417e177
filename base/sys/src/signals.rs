use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::checked;

/// Signals of this process, read as data. While it exists the process is not interrupted by any signal that can be
/// blocked.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedSignal {
    pub number: i32,
    /// 0 if the sender lives in a pid namespace above this process's, or is the kernel.
    pub sender: u32,
}

impl SignalFd {
    /// Blocks every signal for this thread, and makes a descriptor that is readable (without blocking) when one waits.
    ///
    /// Programs executed later inherit the blocking, unless [`default_signals`] comes first.
    pub fn block_all() -> io::Result<Self> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises the set it is given, which the next calls only read; the descriptor is new and
        // owned by nobody else. rustix has neither signal masks nor signalfd. Run by `signals_are_read_as_data`.
        unsafe {
            checked(libc::sigfillset(all.as_mut_ptr()))?;
            checked(libc::sigprocmask(
                libc::SIG_SETMASK,
                all.as_ptr(),
                std::ptr::null_mut(),
            ))?;
            let fd = checked(libc::signalfd(
                -1,
                all.as_ptr(),
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            ))?;
            Ok(SignalFd(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next waiting signal, `None` if there is none.
    pub fn read(&self) -> io::Result<Option<ReceivedSignal>> {
        let mut buffer = [0; mem::size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(length) if length == buffer.len() => {
                // SAFETY: the kernel filled a whole siginfo, which is plain integers, valid for any bytes, and
                // read_unaligned asks for no alignment. No safe crate decodes it. Run by `signals_are_read_as_data`.
                let info: libc::signalfd_siginfo =
                    unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast()) };
                Ok(Some(ReceivedSignal {
                    number: i32::try_from(info.ssi_signo).unwrap_or_default(),
                    sender: info.ssi_pid,
                }))
            }
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives every signal its default effect again and blocks none, so that a program executed next does not inherit what
/// some ancestor ignores.
pub fn default_signals() {
    /// `struct sigaction` of the kernel: all zeros is SIG_DFL without flags.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads 32 bytes of DEFAULT, which runs no code of this process on any signal; the call fails
        // without effect for signals that cannot be changed. Past libc, which hides the two signals it keeps for itself.
        // rustix has no dispositions. Run by `ignored_signals_are_restored`.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                std::mem::size_of::<u64>(),
            )
        };
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which the next call only reads; both cannot fail with these arguments.
    // rustix has no signal masks. Run by the signal tests of bin/mayfly-init.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn signals_are_read_as_data() {
        // In a thread of its own: the mask is the thread's, and a signal to the process may go to any other thread.
        std::thread::spawn(|| {
            let signals = SignalFd::block_all().unwrap();
            assert_eq!(signals.read().unwrap(), None);
            // Ignored by default, so threads that do not block it are not disturbed.
            kill_process(getpid(), Signal::WINCH).unwrap();
            if let Some(received) = signals.read().unwrap() {
                assert_eq!(received.number, Signal::WINCH.as_raw());
                assert_eq!(received.sender, getpid().as_raw_nonzero().get() as u32);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn ignored_signals_are_restored() {
        // SAFETY: SIGURG is ignored by default too, so nothing changes for the other tests; the calls only set and read
        // a disposition.
        let disposition = unsafe {
            libc::signal(libc::SIGURG, libc::SIG_IGN);
            default_signals();
            libc::signal(libc::SIGURG, libc::SIG_DFL)
        };
        assert_eq!(disposition, libc::SIG_DFL);
    }
}
