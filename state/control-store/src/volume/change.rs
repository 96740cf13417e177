use mayfly_db::{Tx, args};
use mayfly_types::{AppId, HostId, Timestamp, VolumeId};

use super::{Volume, VolumeState, by_id, select};
use crate::event::append;
use crate::{By, ControlStore, StoreError};

/// What may be changed about a volume; `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeUpdate {
    /// In days.
    pub snapshot_retention: Option<i64>,
    pub scheduled_snapshots: Option<bool>,
}

const UPDATE: &str = "
    UPDATE volume
       SET snapshot_retention = COALESCE($2, snapshot_retention),
           scheduled_snapshots = COALESCE($3, scheduled_snapshots), updated_at = $4
     WHERE id = $1";

const EXTEND: &str = "
    UPDATE volume
       SET state = 'extending', former_size_gb = COALESCE(former_size_gb, size_gb), size_gb = $2, updated_at = $3
     WHERE id = $1";

const EXTENDED: &str = "
    UPDATE volume SET state = 'created', former_size_gb = NULL, updated_at = $2 WHERE id = $1";

const NOT_EXTENDED: &str = "
    UPDATE volume
       SET state = 'created', size_gb = COALESCE(former_size_gb, size_gb), former_size_gb = NULL, updated_at = $2
     WHERE id = $1";

const DESTROY: &str = "
    UPDATE volume SET state = 'pending_destroy', machine_id = NULL, destroy_at = $2, updated_at = $3 WHERE id = $1";

const RESTORE: &str = "
    UPDATE volume SET state = 'created', destroy_at = NULL, updated_at = $2 WHERE id = $1";

const DESTROYED: &str = "
    UPDATE volume
       SET state = 'destroyed', machine_id = NULL, destroyed_at = $2, updated_at = $2
     WHERE id = $1";

const OF_APP: &str = "volume.app_id = $1 AND volume.destroyed_at IS NULL";
const OF_HOST: &str = "volume.host_id = $1 AND volume.destroyed_at IS NULL";
const CREATING: &str = "volume.state = 'creating'";

impl ControlStore {
    /// # Errors
    /// `NotFound`; `VolumeNotReady` for one that is being destroyed.
    pub async fn update_volume(
        &self,
        id: VolumeId,
        update: VolumeUpdate,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| {
            usable(volume)?;
            let values = args![
                id.as_str(),
                update.snapshot_retention,
                update.scheduled_snapshots.map(i64::from),
                by.at
            ];
            Ok(tx.execute(UPDATE, values).map(drop)?)
        })
        .await
    }

    /// Records that a volume shall have `size_gb`; its host is asked next.
    ///
    /// # Errors
    /// `NotFound`; `VolumeNotReady` for one that is being destroyed; `VolumeShrinks`.
    pub async fn extend_volume(
        &self,
        id: VolumeId,
        size_gb: u32,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| {
            usable(volume)?;
            if size_gb < volume.size_gb {
                return Err(StoreError::VolumeShrinks {
                    volume: id,
                    size_gb: volume.size_gb,
                });
            }
            Ok(tx
                .execute(EXTEND, args![id.as_str(), i64::from(size_gb), by.at])
                .map(drop)?)
        })
        .await
    }

    /// The host of a volume has made it `size_gb` large. Nothing happens if another size is wanted by now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume_extended(
        &self,
        id: VolumeId,
        size_gb: u32,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.end_extension(id, size_gb, EXTENDED, by).await
    }

    /// The host of a volume does not make it `size_gb` large: it has the size it had. Nothing happens if another size is
    /// wanted by now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume_not_extended(
        &self,
        id: VolumeId,
        size_gb: u32,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.end_extension(id, size_gb, NOT_EXTENDED, by).await
    }

    async fn end_extension(
        &self,
        id: VolumeId,
        size_gb: u32,
        sql: &'static str,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| {
            if volume.state != VolumeState::Extending || volume.size_gb != size_gb {
                return Ok(());
            }
            Ok(tx.execute(sql, args![id.as_str(), by.at]).map(drop)?)
        })
        .await
    }

    /// Takes a volume from its users; its host may be told to remove it at `destroy_at`.
    ///
    /// # Errors
    /// `NotFound`; `VolumeInUse` while a machine has it.
    pub async fn destroy_volume(
        &self,
        id: VolumeId,
        destroy_at: Timestamp,
        by: By,
    ) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| {
            if let Some(machine) = volume.machine_id {
                return Err(StoreError::VolumeInUse {
                    volume: id,
                    machine,
                });
            }
            match volume.state {
                VolumeState::PendingDestroy | VolumeState::Destroyed => Ok(()),
                _ => Ok(tx
                    .execute(DESTROY, args![id.as_str(), destroy_at, by.at])
                    .map(drop)?),
            }
        })
        .await
    }

    /// Gives a volume back that was destroyed and is still there at `by.at`.
    ///
    /// # Errors
    /// `NotFound`; `VolumeNotReady` for one that is not, or whose time is over.
    pub async fn restore_volume(&self, id: VolumeId, by: By) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| {
            let is_there = volume.state == VolumeState::PendingDestroy
                && volume.destroy_at.is_some_and(|at| at > by.at);
            if !is_there {
                return Err(not_ready(volume));
            }
            Ok(tx.execute(RESTORE, args![id.as_str(), by.at]).map(drop)?)
        })
        .await
    }

    /// The host of a volume does not have it any more.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume_destroyed(&self, id: VolumeId, by: By) -> Result<Volume, StoreError> {
        self.change_volume(id, by, move |tx, volume, by| match volume.state {
            VolumeState::PendingDestroy => {
                Ok(tx.execute(DESTROYED, args![id.as_str(), by.at]).map(drop)?)
            }
            _ => Ok(()),
        })
        .await
    }

    /// Volumes that a process that has died asked hosts for: nobody was promised them, and they go.
    pub async fn give_up_new_volumes(&self, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            for volume in select(tx, CREATING, &[])? {
                end(
                    tx,
                    &volume,
                    DESTROY,
                    args![volume.id.as_str(), by.at, by.at],
                    &by,
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn change_volume(
        &self,
        id: VolumeId,
        by: By,
        change: impl FnOnce(&mut Tx<'_>, &Volume, &By) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Volume, StoreError> {
        self.write(move |tx| {
            let before = by_id(tx, id)?;
            change(tx, &before, &by)?;
            note(tx, &before, &by)
        })
        .await
    }
}

/// Appends what has changed since, if anything has.
fn note(tx: &mut Tx<'_>, before: &Volume, by: &By) -> Result<Volume, StoreError> {
    let after = by_id(tx, before.id)?;
    if *before != after {
        let kind = match (before.state, after.state) {
            (from, to) if from == to => "volume.update",
            (VolumeState::PendingDestroy, VolumeState::Created) => "volume.restore",
            (_, VolumeState::Extending) => "volume.extend",
            (_, VolumeState::PendingDestroy) => "volume.delete",
            (_, VolumeState::Destroyed) => "volume.destroy",
            _ => "volume.update",
        };
        append(
            tx,
            by,
            kind,
            &after.subject(),
            Some(&before.shown()),
            Some(&after.shown()),
        )?;
    }
    Ok(after)
}

/// An app that goes takes its volumes with it.
pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId, by: &By) -> Result<(), StoreError> {
    for volume in select(tx, OF_APP, args![app.as_str()])? {
        end(
            tx,
            &volume,
            DESTROY,
            args![volume.id.as_str(), by.at, by.at],
            by,
        )?;
    }
    Ok(())
}

/// What was on a host that is gone for good is gone.
pub(crate) fn forget_host(tx: &mut Tx<'_>, host: HostId, by: &By) -> Result<(), StoreError> {
    for volume in select(tx, OF_HOST, args![host.as_str()])? {
        end(tx, &volume, DESTROYED, args![volume.id.as_str(), by.at], by)?;
    }
    Ok(())
}

fn end(
    tx: &mut Tx<'_>,
    volume: &Volume,
    sql: &str,
    values: &[mayfly_db::Value],
    by: &By,
) -> Result<(), StoreError> {
    tx.execute(sql, values)?;
    note(tx, volume, by).map(drop)
}

fn usable(volume: &Volume) -> Result<(), StoreError> {
    match volume.is_usable() {
        true => Ok(()),
        false => Err(not_ready(volume)),
    }
}

fn not_ready(volume: &Volume) -> StoreError {
    StoreError::VolumeNotReady {
        volume: volume.id,
        state: volume.state.as_str(),
    }
}
