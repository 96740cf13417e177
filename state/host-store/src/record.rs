//! Stored shapes. A new shape gets a new number here, a conversion from its neighbour, and a sample in `golden/`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mayfly_host_api::HostEvent;
use mayfly_machine::Machine;
use mayfly_runtime::Entropy;
use mayfly_seal::{SealError, Sealer};
use mayfly_types::{InstanceId, MachineId, Secret};
use serde::{Deserialize, Serialize};

use crate::StoreError;

pub(crate) const MACHINE_VERSION: i64 = 2;
pub(crate) const REPORT_VERSION: i64 = 1;

/// Version 2: secrets stand sealed beside the machine. In version 1 the record was the machine, secrets and all.
#[derive(Serialize)]
struct MachineRecordRef<'a> {
    machine: &'a Machine,
    /// Base64 of the sealed JSON of secrets by version.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_secrets: Option<String>,
}

#[derive(Deserialize)]
struct MachineRecord {
    machine: Machine,
    sealed_secrets: Option<String>,
}

/// Turns machines into records and back, with the key that opens their secrets. Clones share it.
#[derive(Clone)]
pub(crate) struct Records {
    sealer: Arc<Sealer>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

impl Records {
    /// Reads the key at `path`, or makes it.
    pub(crate) fn open(path: &Path, entropy: Arc<dyn Entropy>) -> Result<Records, SealError> {
        let sealer = Arc::new(Sealer::open(path, entropy.as_ref())?);
        Ok(Records { sealer, entropy })
    }

    pub(crate) fn encode_machine(&self, machine: &Machine) -> String {
        let secrets = machine.secrets();
        let sealed_secrets = (!secrets.is_empty()).then(|| {
            let plain = serde_json::to_vec(&secrets).expect("secrets are plain data");
            let context = context(machine.identity.machine_id);
            STANDARD.encode(self.sealer.seal(&plain, &context, self.entropy.as_ref()))
        });
        let record = MachineRecordRef {
            machine,
            sealed_secrets,
        };
        serde_json::to_string(&record).expect("a machine is plain data")
    }

    pub(crate) fn decode_machine(
        &self,
        machine_id: MachineId,
        version: i64,
        text: &str,
    ) -> Result<Machine, StoreError> {
        if version == 1 {
            return decode("the record", machine_id, (version, MACHINE_VERSION), text);
        }
        let record: MachineRecord =
            decode("the record", machine_id, (version, MACHINE_VERSION), text)?;
        let mut machine = record.machine;
        if let Some(sealed) = record.sealed_secrets {
            machine.restore_secrets(self.open_secrets(machine_id, &sealed)?);
        }
        Ok(machine)
    }

    fn open_secrets(
        &self,
        machine_id: MachineId,
        sealed: &str,
    ) -> Result<BTreeMap<InstanceId, BTreeMap<String, Secret>>, StoreError> {
        let foreign = |source| StoreError::OpenSecrets { machine_id, source };
        // Text that is not base64 is damaged, as text that does not open is.
        let sealed = STANDARD.decode(sealed).unwrap_or_default();
        let plain = self
            .sealer
            .open_sealed(&sealed, &context(machine_id))
            .map_err(foreign)?;
        serde_json::from_slice(&plain).map_err(|source| StoreError::Decode {
            what: "the secrets",
            machine_id,
            source,
        })
    }
}

/// What a machine's secrets are sealed for.
fn context(machine_id: MachineId) -> String {
    format!("secrets of machine {machine_id}")
}

pub(crate) fn encode_report(event: &HostEvent) -> String {
    serde_json::to_string(event).expect("a report is plain data")
}

pub(crate) fn decode_report(
    machine_id: MachineId,
    version: i64,
    text: &str,
) -> Result<HostEvent, StoreError> {
    decode("a report", machine_id, (version, REPORT_VERSION), text)
}

fn decode<T: serde::de::DeserializeOwned>(
    what: &'static str,
    machine_id: MachineId,
    (version, newest): (i64, i64),
    text: &str,
) -> Result<T, StoreError> {
    if version > newest {
        return Err(StoreError::FromTheFuture {
            what,
            machine_id,
            version,
        });
    }
    serde_json::from_str(text).map_err(|source| StoreError::Decode {
        what,
        machine_id,
        source,
    })
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::SystemEntropy;

    use super::*;

    fn records(folder: &tempfile::TempDir) -> Records {
        Records::open(&folder.path().join("sealing.key"), Arc::new(SystemEntropy)).unwrap()
    }

    fn json(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn stored_samples_decode_for_ever() {
        let id = MachineId::from_random([7; 14]);
        let folder = tempfile::tempdir().unwrap();
        let records = records(&folder);
        for (name, text) in [
            ("started", include_str!("../golden/machine.v1.started.json")),
            (
                "stopping",
                include_str!("../golden/machine.v1.stopping.json"),
            ),
        ] {
            let machine = records.decode_machine(id, 1, text).unwrap();
            let again = json(&records.encode_machine(&machine));
            let mut stored = json(text);
            stored["version"].as_object_mut().unwrap().remove("secrets");
            assert!(holds(&again["machine"], &stored), "{name}: {again}");
            let second = records.decode_machine(id, 2, &again.to_string()).unwrap();
            assert_eq!(second, machine, "{name}");
        }
        let text = include_str!("../golden/report.v1.json");
        let event = decode_report(id, 1, text).unwrap();
        let again = json(&encode_report(&event));
        assert!(holds(&again, &json(text)), "{again}");
    }

    /// Whether nothing that was stored is lost; fields that came later may be there too.
    fn holds(again: &serde_json::Value, stored: &serde_json::Value) -> bool {
        match (again, stored) {
            (serde_json::Value::Object(again), serde_json::Value::Object(stored)) => stored
                .iter()
                .all(|(name, value)| again.get(name).is_some_and(|again| holds(again, value))),
            _ => again == stored,
        }
    }

    #[test]
    fn secrets_are_stored_sealed() {
        let id = MachineId::from_random([7; 14]);
        let folder = tempfile::tempdir().unwrap();
        let own_records = records(&folder);
        let text = include_str!("../golden/machine.v1.started.json");
        let mut machine = own_records.decode_machine(id, 1, text).unwrap();
        machine.version.secrets =
            BTreeMap::from([("KEY".to_owned(), Secret::new("canary-in-the-coal"))]);
        let record = own_records.encode_machine(&machine);
        assert!(!record.contains("canary"), "{record}");
        let own = machine.identity.machine_id;
        assert_eq!(
            own_records.decode_machine(own, 2, &record).unwrap(),
            machine
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let foreign = records(&elsewhere).decode_machine(own, 2, &record);
        assert!(matches!(foreign, Err(StoreError::OpenSecrets { .. })));
    }

    #[test]
    fn a_newer_shape_is_named() {
        let id = MachineId::from_random([7; 14]);
        let folder = tempfile::tempdir().unwrap();
        let error = records(&folder).decode_machine(id, 3, "{}").unwrap_err();
        assert!(matches!(
            error,
            StoreError::FromTheFuture { version: 3, .. }
        ));
    }
}
