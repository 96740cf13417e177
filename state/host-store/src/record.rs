//! Stored shapes. A new shape gets a new number here, a conversion from its neighbour, and a sample in `golden/`.

use mayfly_host_api::HostEvent;
use mayfly_machine::Machine;
use mayfly_types::MachineId;

use crate::StoreError;

pub(crate) const MACHINE_VERSION: i64 = 1;
pub(crate) const REPORT_VERSION: i64 = 1;

pub(crate) fn encode_machine(machine: &Machine) -> String {
    serde_json::to_string(machine).expect("a machine is plain data")
}

pub(crate) fn decode_machine(
    machine_id: MachineId,
    version: i64,
    text: &str,
) -> Result<Machine, StoreError> {
    decode("the record", machine_id, (version, MACHINE_VERSION), text)
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
    use super::*;

    #[test]
    fn stored_samples_decode_for_ever() {
        let id = MachineId::from_random([7; 14]);
        for (name, text) in [
            ("started", include_str!("../golden/machine.v1.started.json")),
            (
                "stopping",
                include_str!("../golden/machine.v1.stopping.json"),
            ),
        ] {
            let machine = decode_machine(id, 1, text).unwrap();
            let again: serde_json::Value = serde_json::from_str(&encode_machine(&machine)).unwrap();
            let stored: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(holds(&again, &stored), "{name}: {again}");
        }
        let text = include_str!("../golden/report.v1.json");
        let event = decode_report(id, 1, text).unwrap();
        let again: serde_json::Value = serde_json::from_str(&encode_report(&event)).unwrap();
        let stored: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(holds(&again, &stored), "{again}");
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
    fn a_newer_shape_is_named() {
        let id = MachineId::from_random([7; 14]);
        let error = decode_machine(id, 2, "{}").unwrap_err();
        assert!(matches!(
            error,
            StoreError::FromTheFuture { version: 2, .. }
        ));
    }
}
