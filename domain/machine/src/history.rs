use mayfly_types::{Timestamp, VolumeId};
use serde::{Deserialize, Serialize};

use crate::CheckTurn;

/// Who caused a change: the word in an event's `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    User,
    /// Our own loops: restarts, schedules, standbys. Rendered `flyd`, as clients expect.
    Platform,
    Proxy,
}

/// What users see in a machine's history. Rendered by the API as `type` and `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Launch,
    Start,
    Exit(ExitEvent),
    Stop,
    Restart,
    Update,
    Suspend,
    Resume,
    Destroy,
    LaunchFailed {
        reason: String,
    },
    /// A volume of the machine could not be mounted as it was, and can now.
    VolumeRepaired(VolumeNote),
    /// Not part of the machine's own history, but of the event log.
    Check(CheckTurn),
    /// As [`EventKind::Check`].
    Session(SessionNote),
}

/// What a check of a volume came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeNote {
    pub volume: VolumeId,
    /// The words of the program that checked it.
    pub said: String,
}

/// Somebody began to do something inside a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNote {
    /// Who, as their certificate says.
    pub visitor: String,
    /// Of the certificate.
    pub serial: u64,
    /// The user of the machine they are there.
    pub user: String,
    /// `shell`, `exec`, `sftp` or `forward`.
    pub what: String,
}

/// How a guest ended, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitEvent {
    pub exit_code: i32,
    pub guest_exit_code: i32,
    pub guest_signal: i32,
    pub oom_killed: bool,
    pub requested_stop: bool,
    pub restarting: bool,
    /// -1 when no signal ended it.
    pub signal: i32,
    pub exited_at: Timestamp,
    pub restart_count: u32,
}

/// A dated fact about to be reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    pub kind: EventKind,
    pub by: Actor,
}

/// A change in the record of a scheduled machine's runs. `due_at` names the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunChange {
    Started {
        due_at: Timestamp,
    },
    /// The previous run was still going, or the machine was not in a phase that can start.
    Skipped {
        due_at: Timestamp,
    },
    Exited {
        due_at: Timestamp,
        exit_code: Option<i32>,
    },
    Failed {
        due_at: Timestamp,
    },
}
