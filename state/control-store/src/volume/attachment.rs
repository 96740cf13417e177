//! Which machine has which volume: recorded in the transaction that records the machine's version, so that no two
//! machines are promised one volume.

use mayfly_db::{Tx, args};
use mayfly_machine::MountSpec;
use mayfly_types::{AppId, HostId, MachineId, VolumeId};
use serde_json::json;

use super::{Volume, by_id, select};
use crate::event::append;
use crate::{By, StoreError};

const SET_MACHINE: &str = "UPDATE volume SET machine_id = $2, updated_at = $3 WHERE id = $1";

const OF_MACHINE: &str = "volume.machine_id = $1";

/// The machine that shall have volumes.
pub(crate) struct MountOf {
    pub(crate) machine: MachineId,
    pub(crate) app: AppId,
    pub(crate) host: HostId,
}

/// Gives a machine the volumes of its mounts, and takes all others from it.
///
/// # Errors
/// `NotFound` for a volume that the app does not have, `VolumeNotReady`, `VolumeInUse`, `VolumeElsewhere`.
pub(crate) fn remount(
    tx: &mut Tx<'_>,
    of: &MountOf,
    mounts: &[MountSpec],
    by: &By,
) -> Result<(), StoreError> {
    let had = select(tx, OF_MACHINE, args![of.machine.as_str()])?;
    let is_kept = |volume: &Volume| mounts.iter().any(|mount| mount.volume == volume.id);
    for volume in had.iter().filter(|volume| !is_kept(volume)) {
        set_machine(tx, volume, None, by)?;
    }
    for mount in mounts {
        attach(tx, of, mount.volume, by)?;
    }
    Ok(())
}

/// The machine is gone: what it had is free.
pub(crate) fn detach(tx: &mut Tx<'_>, machine: MachineId, by: &By) -> Result<(), StoreError> {
    for volume in select(tx, OF_MACHINE, args![machine.as_str()])? {
        set_machine(tx, &volume, None, by)?;
    }
    Ok(())
}

fn attach(tx: &mut Tx<'_>, of: &MountOf, id: VolumeId, by: &By) -> Result<(), StoreError> {
    let volume = by_id(tx, id)?;
    if volume.app_id != of.app {
        return Err(StoreError::not_found("volume", id));
    }
    match volume.machine_id {
        Some(machine) if machine == of.machine => return Ok(()),
        Some(machine) => {
            return Err(StoreError::VolumeInUse {
                volume: id,
                machine,
            });
        }
        None => {}
    }
    if !volume.is_usable() {
        return Err(StoreError::VolumeNotReady {
            volume: id,
            state: volume.state.as_str(),
        });
    }
    if volume.host_id != of.host {
        return Err(StoreError::VolumeElsewhere {
            volume: id,
            region: volume.region,
            host: volume.host_id,
        });
    }
    set_machine(tx, &volume, Some(of.machine), by)
}

fn set_machine(
    tx: &mut Tx<'_>,
    volume: &Volume,
    machine: Option<MachineId>,
    by: &By,
) -> Result<(), StoreError> {
    let id = machine.as_ref().map(MachineId::as_str);
    tx.execute(SET_MACHINE, args![volume.id.as_str(), id, by.at])?;
    let kind = match machine {
        Some(_) => "volume.attach",
        None => "volume.detach",
    };
    let told = |machine: Option<MachineId>| json!({ "id": volume.id, "name": volume.name, "attached_machine_id": machine });
    let mut subject = volume.subject();
    subject.machine = machine.or(volume.machine_id);
    append(
        tx,
        by,
        kind,
        &subject,
        Some(&told(volume.machine_id)),
        Some(&told(machine)),
    )
}
