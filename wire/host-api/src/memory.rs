use serde::{Deserialize, Serialize};

/// What is asked about the memory of a machine that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryRequest {
    Read,
    /// Sets how much it may use, in MiB, until it is started again. Refused while it uses more and cannot give it back.
    Limit {
        mib: u32,
    },
    /// Takes back what it can do without, about so many MiB.
    Reclaim {
        mib: u32,
    },
}

/// A machine's memory after the request, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    pub limit_mib: u32,
    /// What it could still use; files kept in memory that can be read again count as free.
    pub available_mib: u32,
    /// What the request took back.
    pub reclaimed_mib: u32,
}
