use std::collections::BTreeMap;

use mayfly_db::{DbError, Tx, args};
use mayfly_types::MachineId;
use serde_json::json;

use super::{Machine, by_id, living};
use crate::event::{append, to_json};
use crate::{By, ControlStore, StoreError, config};

const DELETE: &str = "DELETE FROM machine_metadata WHERE machine_id = $1";

const INSERT: &str = "INSERT INTO machine_metadata (machine_id, key, value) VALUES ($1, $2, $3)";

const SET_CONFIG: &str = "
    UPDATE machine SET config = $2, spec = $3, updated_at = $4, generation = generation + 1
     WHERE id = $1";

impl ControlStore {
    /// Sets one key of a machine's metadata, or removes it. It makes no new version and asks for no lease.
    ///
    /// # Errors
    /// `NotFound` for the machine; `Destroyed`. Removing an absent key succeeds.
    pub async fn set_metadata(
        &self,
        machine: MachineId,
        key: String,
        value: Option<String>,
        by: By,
    ) -> Result<Machine, StoreError> {
        self.write(move |tx| {
            let mut machine = living(tx, machine)?;
            let before = match &value {
                Some(value) => machine.spec.metadata.insert(key.clone(), value.clone()),
                None => machine.spec.metadata.remove(&key),
            };
            if before == value {
                return Ok(machine);
            }
            let config = config::with_metadata(&machine.config, &machine.spec.metadata)
                .map_err(|error| DbError::column("config", error.to_string()))?;
            let values = args![
                machine.id.as_str(),
                config.get(),
                to_json(&machine.spec),
                by.at
            ];
            tx.execute(SET_CONFIG, values)?;
            replace(tx, machine.id, &machine.spec.metadata)?;
            let shape = |value: &Option<String>| json!({ "metadata": { key.as_str(): value } });
            append(
                tx,
                &by,
                "machine.metadata",
                &machine.subject(),
                Some(&shape(&before)),
                Some(&shape(&value)),
            )?;
            by_id(tx, machine.id)
        })
        .await
    }
}

/// Makes the copy that filters read equal to `metadata`.
pub(super) fn replace(
    tx: &mut Tx<'_>,
    machine: MachineId,
    metadata: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    tx.execute(DELETE, args![machine.as_str()])?;
    for (key, value) in metadata {
        tx.execute(INSERT, args![machine.as_str(), key, value])?;
    }
    Ok(())
}
