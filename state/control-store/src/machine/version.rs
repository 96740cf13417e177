use std::collections::BTreeMap;

use mayfly_db::{Row, Tx, args};
use mayfly_machine::MachineSpec;
use mayfly_types::{ImageRef, InstanceId, MachineId, Timestamp};
use serde_json::value::RawValue;

use super::{by_id, json, raw};
use crate::event::to_json;
use crate::{ControlStore, StoreError, app_secret};

/// One configuration a machine had, as it was when it was set.
#[derive(Clone, Debug)]
pub struct MachineVersion {
    pub instance_id: InstanceId,
    pub machine_id: MachineId,
    pub image: ImageRef,
    pub image_labels: BTreeMap<String, String>,
    pub config: Box<RawValue>,
    pub spec: MachineSpec,
    pub created_at: Timestamp,
}

/// A configuration to be set.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub instance_id: InstanceId,
    /// Pinned to a digest.
    pub image: ImageRef,
    /// Labels of the OCI image.
    pub image_labels: BTreeMap<String, String>,
    /// The user's own JSON object.
    pub config: Box<RawValue>,
    /// What it means.
    pub spec: MachineSpec,
    /// The version of the app's secrets it starts with; 0 is none.
    pub secrets_version: i64,
}

const INSERT: &str = "
    INSERT INTO machine_version
        (instance_id, machine_id, image, image_labels, config, spec, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

const OF_MACHINE: &str = "
    SELECT * FROM machine_version WHERE machine_id = $1 ORDER BY created_at DESC, instance_id DESC";

pub(super) const BY_ID: &str = "
    SELECT * FROM machine_version WHERE machine_id = $1 AND instance_id = $2";

pub(super) const BEFORE: &str = "
    SELECT * FROM machine_version WHERE machine_id = $1 AND instance_id <> $2
     ORDER BY created_at DESC, instance_id DESC LIMIT 1";

pub(super) const DELETE: &str = "DELETE FROM machine_version WHERE instance_id = $1";

impl ControlStore {
    /// All versions of a machine, newest first.
    ///
    /// # Errors
    /// `NotFound` for the machine.
    pub async fn machine_versions(
        &self,
        machine: MachineId,
    ) -> Result<Vec<MachineVersion>, StoreError> {
        self.read(move |reader| {
            by_id(reader, machine)?;
            let rows = reader.rows(OF_MACHINE, args![machine.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn machine_version(
        &self,
        machine: MachineId,
        version: InstanceId,
    ) -> Result<MachineVersion, StoreError> {
        self.read(move |reader| {
            let row = reader.row(BY_ID, args![machine.as_str(), version.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("machine version", version))?)
        })
        .await
    }
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    machine: MachineId,
    version: &NewVersion,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        INSERT,
        args![
            version.instance_id.as_str(),
            machine.as_str(),
            version.image.to_string(),
            to_json(&version.image_labels),
            version.config.get(),
            to_json(&version.spec),
            at,
        ],
    )?;
    app_secret::remember(tx, version.instance_id.as_str(), version.secrets_version)
}

pub(super) fn from_row(row: &Row) -> Result<MachineVersion, StoreError> {
    Ok(MachineVersion {
        instance_id: row.parse("instance_id")?,
        machine_id: row.parse("machine_id")?,
        image: row.parse("image")?,
        image_labels: json(row, "image_labels")?,
        config: raw(row, "config")?,
        spec: json(row, "spec")?,
        created_at: row.get("created_at")?,
    })
}
