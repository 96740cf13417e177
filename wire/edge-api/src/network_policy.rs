//! Network policies, as the control plane checked and hosts enforce them.

use std::collections::BTreeMap;

use mayfly_types::{AppName, IpRange, MachineId};
use serde::{Deserialize, Serialize};

/// Rules for some machines of an app. Several that match the same machine add up.
///
/// Shape and meaning: <https://fly.io/docs/machines/guides-examples/network-policies/>. What allows in a direction makes
/// everything else in it forbidden. Ranges, apps and `deny` are Mayfly's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    pub id: String,
    pub name: String,
    pub selector: PolicySelector,
    pub rules: Vec<PolicyRule>,
}

/// Which machines; all that is said must be true of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySelector {
    pub machines: Option<Vec<MachineId>>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    pub action: PolicyAction,
    pub direction: PolicyDirection,
    /// Empty means all.
    pub ports: Vec<PolicyPort>,
    /// The other side: in one of these ranges or a machine of one of these apps of the same network; both empty means
    /// everybody.
    pub ranges: Vec<IpRange>,
    pub apps: Vec<AppName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyAction {
    Allow,
    /// Wins over every `Allow`.
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyDirection {
    Ingress,
    Egress,
}

/// Destination ports of a protocol, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPort {
    pub protocol: PolicyProtocol,
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyProtocol {
    Tcp,
    Udp,
    Icmp,
    Any,
}
