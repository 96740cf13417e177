use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of an address's allocation.
    pub struct AllocateIp {
        /// `v4`, `v6`, `shared_v4`, `private_v6`, `egress_v4`, `egress_v6` or `egress_pair`.
        #[serde(rename = "type")]
        pub kind: String,
        pub region: String,
        pub org_slug: String,
        pub network: String,
        pub service_name: String,
    }
}

/// An address of an app. `type` and `network` are Mayfly's own: other clients read the type off the address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpAssignment {
    pub ip: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `global` if it is announced everywhere.
    pub region: String,
    pub service_name: String,
    pub shared: bool,
    /// Whether machines leave by it instead of being reached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    pub created_at: Option<Timestamp>,
    /// Who reaches a private address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<IpNetwork>,
    /// The answer to asking for an `egress_pair`, instead of everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_pair: Option<Box<IpPair>>,
}

/// Addresses of both families that machines leave by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpPair {
    pub v4: IpAssignment,
    pub v6: IpAssignment,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpNetwork {
    pub name: String,
    pub org_slug: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpAssignments {
    pub ips: Vec<IpAssignment>,
}
