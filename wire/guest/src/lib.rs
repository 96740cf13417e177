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
//! Every file is written beside its name and renamed, so a reader sees all of it or nothing.

pub mod frame;
mod launch;
mod record;

pub use frame::{ExecOutcome, ExecStart, Frame, Reply, Request, Window};
pub use launch::{
    ContainerLaunch, FileEntry, LaunchSpec, MountEntry, ProcessLaunch, RestartRule, RootLaunch,
};
pub use record::{ContainerExit, ExitRecord, GuestRecord};

pub const LAUNCH_FILE: &str = "launch.json";
pub const GUEST_FILE: &str = "guest.json";
pub const EXIT_FILE: &str = "exit.json";
pub const CONTROL_SOCKET: &str = "control.sock";
