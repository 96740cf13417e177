use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of an address's allocation.
    pub struct AllocateIp {
        /// `v4`, `v6`, `shared_v4` or `private_v6`.
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
    pub created_at: Option<Timestamp>,
    /// Who reaches a private address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<IpNetwork>,
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
