use mayfly_types::{LaunchId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Actor, Launch, MachineState, Signal, Version};

/// Where a machine is in its life. A phase holds what is true in it and nothing else, and it alone says what is to be
/// done next: see [`crate::pending`] and [`crate::wake_at`].
///
/// ```text
///              Creating ── prepared ──────────────► Stopped ◄───────────── no restart due
///                 │ prepared, launch now   start │ ▲                          │
///                 ▼                              ▼ │ exit                     │
///  LaunchFailed ◄─┴── first launch failed ── Starting ── launched ─► Started ─┴─ exit ─► Restarting ─┐
///       │   (later launches: Failed)             ▲  ▲                │  │ ▲ ▲               due      │
///       │ after a while                          │  └────────────────│──│─│─│────────────────────────┘
///       ▼                                  exit, │            update │  │ │ └── Resuming ◄─ start ─┐
///  Destroying ── removed ─► Destroyed      then  │                   ▼  │ └ Suspending ─────► Suspended
///       ▲                                        │             Updating │       suspend
///       └───── exit, then destroy ───────── Stopping ◄──────────┴───────┘ stop, restart, destroy
/// ```
///
/// Walked by the property tests in `tests.rs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its directories, network place and (if it shall start) image are being made.
    Creating {
        then: Launch,
        tries: Tries,
        by: Actor,
    },
    /// A guest is being launched under this id.
    Starting {
        launch_id: LaunchId,
        cause: Cause,
        tries: Tries,
        by: Actor,
    },
    Started {
        guest: GuestRef,
    },
    Suspending {
        guest: GuestRef,
        by: Actor,
    },
    Suspended {
        guest: GuestRef,
        at: Timestamp,
    },
    Resuming {
        guest: GuestRef,
        by: Actor,
    },
    /// The old version's guest still runs while the new version's image is fetched.
    Updating {
        guest: GuestRef,
        previous: Box<Version>,
        tries: Tries,
        by: Actor,
    },
    /// The guest was or will be asked to end and is killed at `kill_at`.
    Stopping {
        launch_id: LaunchId,
        /// `None` until it is known what a launch that was under way has come to.
        guest: Option<GuestRef>,
        signal: Signal,
        asked: bool,
        kill_at: Timestamp,
        then: AfterStop,
        by: Actor,
    },
    /// Ended by itself, waits out its back-off.
    Restarting {
        due_at: Timestamp,
        cleaned: bool,
    },
    Stopped {
        at: Timestamp,
        exit: Option<Exit>,
        cleaned: bool,
    },
    /// Could not be started; stays until somebody acts.
    Failed {
        at: Timestamp,
        reason: String,
        cleaned: bool,
    },
    /// The very first launch failed; goes away unless somebody acts.
    LaunchFailed {
        at: Timestamp,
        reason: String,
        destroy_at: Timestamp,
        cleaned: bool,
    },
    Destroying {
        by: Actor,
    },
    Destroyed {
        at: Timestamp,
    },
}

/// The running body of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRef {
    pub launch_id: LaunchId,
    /// First process of the guest, as the host numbers it.
    pub pid: u32,
    pub started_at: Timestamp,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// `None` if a signal ended it, it never ran, or nobody saw it end.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// Why nothing ran, for people.
    pub failure: Option<String>,
    pub at: Timestamp,
}

impl Exit {
    /// An end that left no record: the guest was killed together with its monitor.
    pub fn unseen(at: Timestamp) -> Exit {
        Exit {
            code: None,
            signal: None,
            oom_killed: false,
            failure: None,
            at,
        }
    }

    pub fn is_success(&self) -> bool {
        self.code == Some(0) && !self.oom_killed
    }
}

/// Why a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Create,
    Start,
    /// Somebody asked for a restart.
    Restart,
    /// The restart policy.
    Policy,
    Update,
    Schedule,
    /// The host was booted while the machine ran.
    Boot,
}

/// What follows once the guest has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterStop {
    Stop,
    Restart,
    Update,
    Destroy,
}

/// How often a step has failed and when it is tried next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    pub failed: u32,
    pub next_at: Timestamp,
}

impl Phase {
    /// The word the API shows.
    pub fn state(&self) -> MachineState {
        match self {
            Phase::Creating {
                then: Launch::Now, ..
            } => MachineState::Creating,
            Phase::Creating {
                then: Launch::Skip, ..
            } => MachineState::Created,
            Phase::Starting {
                cause: Cause::Restart | Cause::Policy,
                ..
            }
            | Phase::Restarting { .. } => MachineState::Restarting,
            Phase::Starting { .. } | Phase::Resuming { .. } => MachineState::Starting,
            Phase::Started { .. } => MachineState::Started,
            Phase::Suspending { .. } => MachineState::Suspending,
            Phase::Suspended { .. } => MachineState::Suspended,
            Phase::Updating { .. } => MachineState::Updating,
            Phase::Stopping { then, .. } => match then {
                AfterStop::Stop => MachineState::Stopping,
                AfterStop::Restart => MachineState::Restarting,
                AfterStop::Update => MachineState::Replacing,
                AfterStop::Destroy => MachineState::Destroying,
            },
            Phase::Stopped { .. } => MachineState::Stopped,
            Phase::Failed { .. } => MachineState::Failed,
            Phase::LaunchFailed { .. } => MachineState::LaunchFailed,
            Phase::Destroying { .. } => MachineState::Destroying,
            Phase::Destroyed { .. } => MachineState::Destroyed,
        }
    }

    /// The guest, in the phases that have one for certain.
    pub fn guest(&self) -> Option<GuestRef> {
        match self {
            Phase::Started { guest }
            | Phase::Suspending { guest, .. }
            | Phase::Suspended { guest, .. }
            | Phase::Resuming { guest, .. }
            | Phase::Updating { guest, .. } => Some(*guest),
            Phase::Stopping { guest, .. } => *guest,
            _ => None,
        }
    }

    /// The launch whose guest may exist, even if nobody has seen it yet.
    pub fn launch_id(&self) -> Option<LaunchId> {
        match self {
            Phase::Starting { launch_id, .. } | Phase::Stopping { launch_id, .. } => {
                Some(*launch_id)
            }
            other => other.guest().map(|guest| guest.launch_id),
        }
    }

    /// Why the machine could not start, in the phases that say so.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Phase::Failed { reason, .. } | Phase::LaunchFailed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}
