use std::collections::BTreeMap;

use mayfly_types::{ImageRef, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::MachineEvent;

/// A machine as the API shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub id: String,
    pub name: String,
    pub state: String,
    pub region: String,
    pub image_ref: MachineImage,
    pub instance_id: String,
    /// The same as `instance_id`; newer clients read it here.
    pub version: String,
    /// Fully expanded, in eight groups.
    pub private_ip: String,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    /// As it was given, to the letter; absent from summaries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<RawValue>>,
    /// Newest first.
    pub events: Vec<MachineEvent>,
    pub checks: Vec<CheckStatus>,
    /// Only in the answer to a creation with `lease_ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<MachineLease>,
    pub host_status: String,
    pub cordoned: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerStatus>,
    /// Why the machine is `failed` (Mayfly's own).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Where an organization's machines are listed: the app each belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
}

/// The image of a machine, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineImage {
    pub registry: String,
    pub repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    pub labels: BTreeMap<String, String>,
}

impl MachineImage {
    pub fn new(image: &ImageRef, labels: BTreeMap<String, String>) -> Self {
        Self {
            registry: image.registry().to_owned(),
            repository: image.repository().to_owned(),
            tag: image.tag().unwrap_or_default().to_owned(),
            digest: image
                .digest()
                .map_or_else(String::new, |digest| digest.to_string()),
            labels,
        }
    }
}

/// Who holds a machine, without the nonce that proves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineLease {
    pub owner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Seconds since 1970.
    pub expires_at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    pub name: String,
    /// `passing`, `warning` or `critical`.
    pub status: String,
    pub output: String,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: String,
    pub state: String,
}

/// One version of a machine, newest first in lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    pub user_config: Box<RawValue>,
}
