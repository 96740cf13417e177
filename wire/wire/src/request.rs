use std::collections::BTreeMap;
use std::fmt;

use mayfly_machine::{InvalidSignal, Signal};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::GoDuration;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of a machine's creation. `config` stays as it was given; see [`crate::MachineConfig`].
    pub struct CreateMachine {
        pub config: Value,
        pub name: String,
        pub region: String,
        pub skip_launch: bool,
        pub skip_service_registration: bool,
        pub skip_secrets: bool,
        pub min_secrets_version: u64,
        /// Seconds; the new machine is leased by its creator.
        pub lease_ttl: i64,
        /// Accepted and without effect.
        pub lsvd: bool,
        /// Mayfly's own: a repeated creation with the same key returns the first one's machine.
        pub idempotency_key: String,
    }

    /// Body of a machine's update; `name` and `region` must be the machine's own if they are given.
    pub struct UpdateMachine {
        pub config: Value,
        pub name: String,
        pub region: String,
        pub skip_launch: bool,
        pub skip_service_registration: bool,
        pub skip_secrets: bool,
        pub min_secrets_version: u64,
        pub lease_ttl: i64,
        pub lsvd: bool,
        /// The version the caller last saw; another one refuses the update.
        pub current_version: String,
    }

    pub struct StopMachine {
        pub id: String,
        pub signal: SignalName,
        pub timeout: GoDuration,
    }

    pub struct SignalMachine {
        pub signal: SignalName,
    }

    pub struct ExecMachine {
        pub command: Vec<String>,
        /// Deprecated: split as a shell does.
        pub cmd: String,
        pub container: String,
        /// Outside of containers.
        pub machine: bool,
        pub stdin: String,
        /// Seconds.
        pub timeout: i64,
    }

    pub struct MetadataValue {
        pub value: String,
    }

    /// Body of PUT (replaces all keys) and PATCH (`null` removes a key) of a machine's metadata.
    pub struct MetadataPatch {
        pub metadata: BTreeMap<String, Option<String>>,
        /// The version the caller last saw.
        pub machine_version: String,
        pub updated_at: String,
    }

    pub struct SetMemory {
        pub limit_mb: i64,
    }

    pub struct ReclaimMemory {
        pub amount_mb: i64,
    }
}

/// A signal by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SignalName(pub String);

impl SignalName {
    pub fn signal(&self) -> Result<Signal, InvalidSignal> {
        self.0.parse()
    }
}

impl<'de> Deserialize<'de> for SignalName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = SignalName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or number of a signal")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SignalName, E> {
                Ok(SignalName(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<SignalName, E> {
                Ok(SignalName(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SignalName, E> {
                Ok(SignalName(number.to_string()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Answer of exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    #[serde(default)]
    pub exit_code: i32,
    #[serde(default)]
    pub exit_signal: i32,
    #[serde(default)]
    pub stdout: String,
    #[serde(default)]
    pub stderr: String,
}

/// Answer of start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartResult {
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub previous_state: String,
}
