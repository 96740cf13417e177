use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

/// An entry of a machine's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineEvent {
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<MachineRequest>,
    /// `user`, `flyd` (the platform itself) or `proxy`.
    pub source: String,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// What an event says beyond its type. An `exit` event always has an `exit_event`: one client crashes without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_event: Option<ExitEvent>,
    #[serde(skip_serializing_if = "is_zero")]
    pub restart_count: u32,
    /// Why a launch failed (Mayfly's own).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

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
}
