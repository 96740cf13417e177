use serde::{Deserialize, Serialize};

/// A host of the fleet as its operator sees it; ours, upstream has no such call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetHost {
    pub id: String,
    pub region: String,
    /// The first host of the server it is on.
    pub server: Option<String>,
    /// Where other servers reach it.
    pub address: Option<String>,
    /// Whether the control plane is on the same server.
    pub control: bool,
    /// `reachable` or `unreachable`, as the control plane finds it.
    pub state: String,
    /// Since when it is in this state.
    pub since: String,
    /// When it last answered.
    pub seen_at: String,
    /// Gets no new machines.
    pub cordoned: bool,
    pub machines: usize,
    pub running: usize,
    pub memory_mib: u64,
    pub cpus: u32,
    pub joined_at: String,
}

/// What one server may join by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostToken {
    pub token: String,
    /// Where it joins.
    pub address: String,
    pub expires_at: String,
}
