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
    /// Its machines move to other hosts.
    pub draining: bool,
    pub machines: usize,
    pub running: usize,
    pub memory_mib: u64,
    pub cpus: u32,
    pub joined_at: String,
}

/// How far a host is emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostDrain {
    pub host: String,
    /// Whether its machines move away now.
    pub draining: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Those that are still there, then those that moved.
    pub machines: Vec<HostMove>,
}

/// A machine of a host that is emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMove {
    pub id: String,
    pub app: String,
    /// `waiting`, `moving`, `moved` or `stays`.
    pub state: String,
    /// The machine that takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// Why it waits or stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
