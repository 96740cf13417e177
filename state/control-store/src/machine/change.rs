use mayfly_db::{Tx, args};
use mayfly_types::{InstanceId, MachineId};
use serde_json::{Value, json};

use super::{Machine, MachineVersion, by_id, living, metadata, version};
use crate::event::{append, to_json};
use crate::volume::{MountOf, detach, remount};
use crate::{By, ControlStore, NewVersion, StoreError, app_secret, config};

const SET_VERSION: &str = "
    UPDATE machine
       SET instance_id = $2, image = $3, image_labels = $4, config = $5, spec = $6, standby = $7,
           updated_at = $8, generation = generation + 1
     WHERE id = $1";

const ABANDON: &str = "
    UPDATE machine
       SET state = 'destroyed', state_since = $2, destroyed_at = $2, updated_at = $2, failure = $3,
           lease_nonce = NULL, lease_owner = NULL, lease_description = NULL, lease_expires_at = NULL,
           generation = generation + 1
     WHERE id = $1";

/// What was undone may be asked for again under the same key.
const FORGET_KEY: &str = "DELETE FROM idempotency WHERE machine_id = $1";

impl ControlStore {
    /// Records a new version of a machine that its host shall be asked for next.
    ///
    /// # Errors
    /// `Leased` if somebody else holds the lease; `VersionMoved` if the machine is not at `expected`; `NotFound`, also for
    /// a volume; `Destroyed`; `VolumeInUse`, `VolumeNotReady` and `VolumeElsewhere` for a volume that it cannot have.
    pub async fn update_machine(
        &self,
        machine: MachineId,
        new: NewVersion,
        expected: Option<InstanceId>,
        nonce: Option<String>,
        by: By,
    ) -> Result<Machine, StoreError> {
        self.write(move |tx| {
            let before = living(tx, machine)?;
            before.check_lease(nonce.as_deref(), by.at)?;
            if expected.is_some_and(|expected| expected != before.instance_id) {
                return Err(StoreError::VersionMoved {
                    machine_id: machine,
                    current: before.instance_id,
                });
            }
            version::insert(tx, machine, &new, by.at)?;
            set_version(tx, machine, &new, &by)?;
            remount(tx, &mount_of(&before), &new.spec.mounts, &by)?;
            let after = by_id(tx, machine)?;
            append(
                tx,
                &by,
                "machine.update",
                &after.subject(),
                Some(&shown(&before)),
                Some(&shown(&after)),
            )?;
            Ok(after)
        })
        .await
    }

    /// Goes back to the version before `refused`, which the host did not take. Nothing happens if the machine has
    /// moved on since.
    pub async fn revert_machine(
        &self,
        machine: MachineId,
        refused: InstanceId,
        by: By,
    ) -> Result<Machine, StoreError> {
        self.write(move |tx| {
            let before = living(tx, machine)?;
            if before.instance_id != refused || before.is_delivered() {
                return Ok(before);
            }
            let values = args![machine.as_str(), refused.as_str()];
            let Some(row) = tx.row(version::BEFORE, values)? else {
                return Ok(before);
            };
            let MachineVersion {
                instance_id,
                image,
                image_labels,
                config,
                spec,
                ..
            } = version::from_row(&row)?;
            let earlier = NewVersion {
                instance_id,
                image,
                image_labels,
                config,
                spec,
                secrets_version: app_secret::version_of(tx, instance_id.as_str())?,
            };
            set_version(tx, machine, &earlier, &by)?;
            // Another machine may have taken meanwhile what this one gave back; then its host says so at the next start.
            let remounted = remount(tx, &mount_of(&before), &earlier.spec.mounts, &by);
            if let Err(StoreError::Db(error)) = remounted {
                return Err(error.into());
            }
            tx.execute(app_secret::FORGET_OF_VERSION, args![refused.as_str()])?;
            tx.execute(version::DELETE, args![refused.as_str()])?;
            let after = by_id(tx, machine)?;
            append(
                tx,
                &by,
                "machine.revert",
                &after.subject(),
                Some(&shown(&before)),
                Some(&shown(&after)),
            )?;
            Ok(after)
        })
        .await
    }

    /// Gives up on a machine that no host has or will have: it is destroyed, its name and its idempotency key are free.
    ///
    /// For a create that the host refused, and for machines of a host that is gone for good.
    pub async fn abandon_machine(
        &self,
        machine: MachineId,
        reason: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let machine = by_id(tx, machine)?;
            if machine.destroyed_at.is_some() {
                return Ok(());
            }
            tx.execute(ABANDON, args![machine.id.as_str(), by.at, reason.as_str()])?;
            tx.execute(FORGET_KEY, args![machine.id.as_str()])?;
            detach(tx, machine.id, &by)?;
            append(
                tx,
                &by,
                "machine.abandon",
                &machine.subject(),
                Some(&json!({ "state": machine.state })),
                Some(&json!({ "state": "destroyed", "reason": reason })),
            )
        })
        .await
    }
}

fn set_version(
    tx: &mut Tx<'_>,
    machine: MachineId,
    version: &NewVersion,
    by: &By,
) -> Result<(), StoreError> {
    let values = args![
        machine.as_str(),
        version.instance_id.as_str(),
        version.image.to_string(),
        to_json(&version.image_labels),
        version.config.get(),
        to_json(&version.spec),
        !version.spec.standbys.is_empty(),
        by.at,
    ];
    tx.execute(SET_VERSION, values)?;
    metadata::replace(tx, machine, &version.spec.metadata)
}

fn shown(machine: &Machine) -> Value {
    json!({
        "instance_id": machine.instance_id,
        "image": machine.image,
        "config": config::summary(&machine.config),
    })
}

fn mount_of(machine: &Machine) -> MountOf {
    MountOf {
        machine: machine.id,
        app: machine.app_id,
        host: machine.host_id,
    }
}
