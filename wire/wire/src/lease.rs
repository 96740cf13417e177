use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

/// Answer of the lease calls. Clients insist on the word `success` in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    pub status: String,
    pub data: Option<LeaseData>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseData {
    pub nonce: String,
    /// Seconds since 1970.
    pub expires_at: i64,
    pub owner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The machine's version when the lease was looked at.
    pub version: String,
}

optional_fields! {
    /// Body of taking a lease; the query may say the same.
    pub struct TakeLease {
        /// Seconds.
        pub ttl: i64,
        pub description: String,
    }
}
