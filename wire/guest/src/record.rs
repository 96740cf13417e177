use mayfly_types::{LaunchId, Timestamp};
use serde::{Deserialize, Serialize};

/// A guest that runs. Process ids are the host's; start times (clock ticks since boot) make a reused pid visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    pub launch_id: LaunchId,
    pub monitor_pid: u32,
    pub monitor_start_ticks: u64,
    pub init_pid: u32,
    pub init_start_ticks: u64,
    pub started_at: Timestamp,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub launch_id: LaunchId,
    /// The main process's exit code; `None` if a signal ended it or it never ran.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    /// Why nothing ran, for people: "exec /app/server: no such file or directory".
    pub failure: Option<String>,
    pub exited_at: Timestamp,
    /// The ends of all containers, main one first.
    pub containers: Vec<ContainerExit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExit {
    pub name: String,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}
