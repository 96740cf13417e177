use std::collections::BTreeMap;

use mayfly_db::{DbError, Tx, args};
use mayfly_types::{InstanceId, MachineId};
use serde_json::json;

use super::{Machine, by_id, living};
use crate::event::{append, to_json};
use crate::{By, ControlStore, StoreError, config};

const DELETE: &str = "DELETE FROM machine_metadata WHERE machine_id = $1";

const INSERT: &str = "INSERT INTO machine_metadata (machine_id, key, value) VALUES ($1, $2, $3)";

const SET_CONFIG: &str = "
    UPDATE machine SET config = $2, spec = $3, updated_at = $4, generation = generation + 1
     WHERE id = $1";

/// What becomes of a machine's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// New values by key; `None` removes the key.
    pub keys: BTreeMap<String, Option<String>>,
    /// Keys that are not named go.
    pub replaces: bool,
    /// The version the machine must have.
    pub version: Option<InstanceId>,
}

impl ControlStore {
    /// Sets one key of a machine's metadata, or removes it: see [`ControlStore::change_metadata`].
    pub async fn set_metadata(
        &self,
        machine: MachineId,
        key: String,
        value: Option<String>,
        by: By,
    ) -> Result<Machine, StoreError> {
        let change = MetadataChange {
            keys: BTreeMap::from([(key, value)]),
            ..MetadataChange::default()
        };
        self.change_metadata(machine, change, by).await
    }

    /// Changes a machine's metadata, all of it or nothing. It makes no new version and asks for no lease.
    ///
    /// # Errors
    /// `NotFound` for the machine; `Destroyed`; `VersionMoved`. Removing an absent key succeeds.
    pub async fn change_metadata(
        &self,
        machine: MachineId,
        change: MetadataChange,
        by: By,
    ) -> Result<Machine, StoreError> {
        self.write(move |tx| {
            let mut machine = living(tx, machine)?;
            if change
                .version
                .is_some_and(|seen| seen != machine.instance_id)
            {
                return Err(StoreError::VersionMoved {
                    machine_id: machine.id,
                    current: machine.instance_id,
                });
            }
            let old = machine.spec.metadata.clone();
            let mut keys = change.keys;
            if change.replaces {
                for key in old.keys() {
                    keys.entry(key.clone()).or_insert(None);
                }
            }
            keys.retain(|key, value| old.get(key) != value.as_ref());
            if keys.is_empty() {
                return Ok(machine);
            }
            for (key, value) in &keys {
                match value {
                    Some(value) => machine.spec.metadata.insert(key.clone(), value.clone()),
                    None => machine.spec.metadata.remove(key),
                };
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
            let before: BTreeMap<&String, Option<&String>> =
                keys.keys().map(|key| (key, old.get(key))).collect();
            append(
                tx,
                &by,
                "machine.metadata",
                &machine.subject(),
                Some(&json!({ "metadata": before })),
                Some(&json!({ "metadata": keys })),
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
