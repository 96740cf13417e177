use mayfly_types::{AppId, MachineId, Region};
use serde::{Deserialize, Serialize};

/// How busy the apps that are scaled by load were during the last seconds, as the edges of one server saw it. What is not
/// named had nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeLoad {
    pub services: Vec<ServiceLoad>,
}

/// One way into an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLoad {
    pub app_id: AppId,
    /// Where its machines listen.
    pub internal_port: u16,
    /// Requests (for TCP: connections) that waited for a machine, on average, in thousandths.
    pub waiting_milli: u64,
    /// Those that were turned away because every machine was at its hard limit.
    pub refused: u32,
    pub machines: Vec<MachineLoad>,
    /// The part of it that came in at a region and went to machines of others, though it did not ask for them.
    #[serde(default)]
    pub far: Vec<FarLoad>,
}

/// Requests that came in at a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarLoad {
    pub region: Region,
    /// On average, in thousandths.
    pub load_milli: u64,
}

/// What these edges have under way at one port of a machine. Others may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLoad {
    pub machine_id: MachineId,
    /// On average, in thousandths.
    pub load_milli: u64,
    pub soft: u32,
}
