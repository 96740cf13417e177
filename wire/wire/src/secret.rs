use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of a change of several secrets: a value sets a name, null unsets it.
    pub struct SetSecrets {
        pub values: BTreeMap<String, Option<String>>,
    }

    /// Body of a change of one secret.
    pub struct SetSecret {
        pub value: String,
    }
}

/// A secret as the API shows it: never with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSecret {
    pub name: String,
    /// Equal values of one app have equal digests.
    pub digest: String,
    pub created_at: String,
    pub updated_at: String,
    /// Mayfly's own: `Staged` while no machine has this value, `Partial` while some have, `Deployed`.
    pub status: String,
}

/// Secrets and the version of the whole set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSecrets {
    pub secrets: Vec<AppSecret>,
    /// Grows with every change; 0 before the first.
    pub version: u64,
    /// How many machines have an older version.
    pub machines_behind: u64,
}

/// One secret with the version of the whole set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionedSecret {
    #[serde(flatten)]
    pub secret: AppSecret,
    pub version: u64,
}

/// Answer to an unset: the version after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretsVersion {
    pub version: u64,
}
