//! The contract between a host and the two processes of ours that every machine has.
//!
//! For each start of a machine the host writes a [`LaunchSpec`] into the machine's run directory and executes
//! `mayfly-init monitor <run directory>`. The **monitor** stays on the host side: it makes the namespaces, starts the
//! **init** as the first process inside, drains its output into the machine's log, and records how it ended. It is not
//! a child of the daemon, so killing the daemon stops no machine. Files of the run directory:
//!
//! | file | written by | meaning |
//! |---|---|---|
//! | `launch.json` | host | the [`LaunchSpec`] |
//! | `guest.json` | monitor, once init runs the main process | a [`GuestRecord`] |
//! | `exit.json` | monitor, when init has ended | an [`ExitRecord`]; written even if nobody listens |
//! | `control.sock` | monitor | frames of [`frame`]; each connection carries one [`Request`] |
//!
//! Every file is written beside its name and renamed, so a reader sees all of it or nothing. Only `exit.json` is also
//! synced to disk: after a power cut nothing runs anyway.
//!
//! # Starting
//!
//! The monitor's standard output is a pipe from which the host reads one line: [`STARTED`] once `guest.json` is there and
//! the program runs, or [`FAILED`] followed by a blank and the reason, once `exit.json` with that reason is there. End of file without a line means the monitor itself died. The process the host started
//! detaches and ends with code 0 at once; the host waits for it, and for nothing else of the monitor.
//!
//! The program that must run is the first process of the first container, or, if that container waits for others, of
//! the first container that waits for none.
//!
//! Starting the same launch again (same run directory, same launch id) starts nothing: while it runs the answer is
//! [`STARTED`], after its end what `exit.json` says. Another launch in the same directory is refused while one runs.
//!
//! # Ending
//!
//! The machine ends when its main container has ended for good. The host asks by sending a signal request, and forces
//! by killing the cgroup; both end in an `exit.json`. If only the monitor is killed, the kernel kills the guest with it,
//! and no `exit.json` is written: both processes of `guest.json` are gone then.
//!
//! # A host's duties
//!
//! The monitor stays in the cgroup it was started in, so its memory is not the guest's; a service manager must be told
//! to end only the daemon's main process. `cgroups` are joined by the guest alone. `launch.json` holds secrets until the
//! program runs, when the monitor takes environments and files out of it: the run directory is for root only.

pub mod frame;
mod launch;
mod record;

pub use frame::{ContainerState, ExecOutcome, ExecStart, FRAME_MAX, Frame, Reply, Request, Window};
pub use launch::{
    ContainerLaunch, FileEntry, LaunchSpec, MountEntry, ProcessLaunch, RestartRule, RootLaunch,
    Sandbox, VolumeLaunch,
};
pub use record::{ContainerExit, ExitRecord, GuestRecord};

pub const LAUNCH_FILE: &str = "launch.json";
pub const GUEST_FILE: &str = "guest.json";
pub const EXIT_FILE: &str = "exit.json";
pub const CONTROL_SOCKET: &str = "control.sock";

/// What a monitor says on its standard output when the program runs.
pub const STARTED: &str = "started";
/// What it says, followed by a blank and the reason, when nothing could run.
pub const FAILED: &str = "failed";
