use mayfly_db::args;
use mayfly_types::{AppId, HostId, Region, VolumeId};

use super::{Volume, VolumeState, by_id};
use crate::event::{NOTHING, append};
use crate::{By, ControlStore, StoreError, app, host};

/// A volume to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVolume {
    pub id: VolumeId,
    pub app_id: AppId,
    pub name: String,
    pub region: Region,
    pub host_id: HostId,
    pub size_gb: u32,
    /// `ext4` or `raw`.
    pub fstype: String,
    /// In days.
    pub snapshot_retention: i64,
    pub scheduled_snapshots: bool,
}

const INSERT: &str = "
    INSERT INTO volume
        (id, app_id, org_id, name, region, host_id, size_gb, fstype, state, snapshot_retention,
         scheduled_snapshots, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'creating', $9, $10, $11, $11)";

const MADE: &str = "
    UPDATE volume SET state = 'created', updated_at = $2 WHERE id = $1 AND state = 'creating'";

const UNMADE: &str = "DELETE FROM volume WHERE id = $1 AND state = 'creating'";

impl ControlStore {
    /// Records a volume that its host shall be asked for next.
    ///
    /// # Errors
    /// `NotFound` for the app or the host.
    pub async fn create_volume(&self, new: NewVolume, by: By) -> Result<Volume, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, new.app_id)?;
            if host::by_id(tx, new.host_id)?.is_none() {
                return Err(StoreError::not_found("host", new.host_id));
            }
            let values = args![
                new.id.as_str(),
                app.id.as_str(),
                app.org_id.as_str(),
                new.name.as_str(),
                new.region.as_str(),
                new.host_id.as_str(),
                i64::from(new.size_gb),
                new.fstype.as_str(),
                new.snapshot_retention,
                new.scheduled_snapshots,
                by.at,
            ];
            tx.execute(INSERT, values)?;
            let volume = by_id(tx, new.id)?;
            let after = volume.shown();
            append(
                tx,
                &by,
                "volume.create",
                &volume.subject(),
                NOTHING,
                Some(&after),
            )?;
            Ok(volume)
        })
        .await
    }

    /// Its host has a volume that was asked for.
    ///
    /// # Errors
    /// `NotFound` if it was given up meanwhile.
    pub async fn volume_made(&self, id: VolumeId, by: By) -> Result<Volume, StoreError> {
        self.write(move |tx| {
            let before = by_id(tx, id)?;
            if before.state == VolumeState::Creating {
                tx.execute(MADE, args![id.as_str(), by.at])?;
            }
            let volume = by_id(tx, id)?;
            let (before, after) = (before.shown(), volume.shown());
            append(
                tx,
                &by,
                "volume.update",
                &volume.subject(),
                Some(&before),
                Some(&after),
            )?;
            Ok(volume)
        })
        .await
    }

    /// Its host does not make a volume that was asked for: there is none.
    pub async fn volume_refused(&self, id: VolumeId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let volume = by_id(tx, id)?;
            if tx.execute(UNMADE, args![id.as_str()])? > 0 {
                let before = volume.shown();
                append(
                    tx,
                    &by,
                    "volume.refuse",
                    &volume.subject(),
                    Some(&before),
                    NOTHING,
                )?;
            }
            Ok(())
        })
        .await
    }
}
