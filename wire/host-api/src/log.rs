use std::time::Duration;

use mayfly_types::{MachineId, Timestamp};
use serde::{Deserialize, Serialize};

/// Which lines to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Each machine with the sequence number to read after; 0 is the beginning.
    pub machines: Vec<(MachineId, u64)>,
    /// The last this many lines when a machine's cursor is 0, counted over all machines; `None` reads all.
    pub tail: Option<usize>,
    pub limit: usize,
    /// How long to wait for a line when there is none.
    pub patience: Duration,
}

/// Lines in order of time, and the sequence numbers to continue after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    pub entries: Vec<LogEntry>,
    pub cursors: Vec<(MachineId, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    pub machine_id: MachineId,
    /// Grows by one per line of a machine; a gap means lines were dropped by rotation.
    pub seq: u64,
    pub at: Timestamp,
    /// `app` for the machine's own output, `runner` for ours.
    pub source: String,
    /// `stdout`, `stderr`, or empty for ours.
    pub stream: String,
    pub container: Option<String>,
    pub message: String,
}
