use mayfly_db::{Row, args};
use mayfly_host_api::{Filesystem, VolumeSpec};
use mayfly_types::{Timestamp, VolumeId};

use crate::{HostStore, StoreError};

/// A volume as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredVolume {
    /// With the size it was last asked to have.
    pub spec: VolumeSpec,
    pub phase: VolumePhase,
}

/// What is being done with a volume, or is to be gone on with after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumePhase {
    Making,
    /// Its disk is there; it may still have to grow.
    Ready,
    Removing,
}

const PHASES: [(VolumePhase, &str); 3] = [
    (VolumePhase::Making, "making"),
    (VolumePhase::Ready, "ready"),
    (VolumePhase::Removing, "removing"),
];
const FILESYSTEMS: [(Filesystem, &str); 2] = [(Filesystem::Ext4, "ext4"), (Filesystem::Raw, "raw")];

const INSERT: &str = "
    INSERT INTO volume (id, size_gib, filesystem, phase, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO NOTHING";
const SET: &str = "UPDATE volume SET size_gib = $2, phase = $3 WHERE id = $1";
const FORGET: &str = "DELETE FROM volume WHERE id = $1";
const ONE: &str = "SELECT id, size_gib, filesystem, phase FROM volume WHERE id = $1";
const ALL: &str = "SELECT id, size_gib, filesystem, phase FROM volume ORDER BY id";

fn word<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    let found = words.iter().find(|(one, _)| one == value);
    found.expect("every value has its word").1
}

fn decode(row: &Row) -> Result<StoredVolume, StoreError> {
    let volume_id: VolumeId = row.parse("id")?;
    let (phase, filesystem): (String, String) = (row.get("phase")?, row.get("filesystem")?);
    let unknown = |what| StoreError::UnknownWord { what, volume_id };
    let phase = PHASES.iter().find(|(_, word)| *word == phase);
    let filesystem = FILESYSTEMS.iter().find(|(_, word)| *word == filesystem);
    let size_gib = u32::try_from(row.get::<i64>("size_gib")?);
    Ok(StoredVolume {
        spec: VolumeSpec {
            volume_id,
            size_gib: size_gib.map_err(|_| unknown("size"))?,
            filesystem: filesystem.ok_or_else(|| unknown("filesystem"))?.0,
        },
        phase: phase.ok_or_else(|| unknown("phase"))?.0,
    })
}

impl HostStore {
    /// Takes a volume on that is about to be made. One that is there already stays as it is.
    pub async fn insert_volume(&self, spec: VolumeSpec, now: Timestamp) -> Result<(), StoreError> {
        self.db
            .write(move |tx| {
                let values = args![
                    spec.volume_id.as_str(),
                    i64::from(spec.size_gib),
                    word(&FILESYSTEMS, &spec.filesystem),
                    word(&PHASES, &VolumePhase::Making),
                    now
                ];
                tx.execute(INSERT, values)?;
                Ok(())
            })
            .await
    }

    /// Stores the size and phase of a volume; one that is gone stays so.
    pub async fn store_volume(&self, volume: StoredVolume) -> Result<(), StoreError> {
        self.db
            .write(move |tx| {
                let id = volume.spec.volume_id;
                let size = i64::from(volume.spec.size_gib);
                tx.execute(SET, args![id.as_str(), size, word(&PHASES, &volume.phase)])?;
                Ok(())
            })
            .await
    }

    pub async fn forget_volume(&self, id: VolumeId) -> Result<(), StoreError> {
        self.db
            .write(move |tx| {
                tx.execute(FORGET, args![id.as_str()])?;
                Ok(())
            })
            .await
    }

    pub async fn volume(&self, id: VolumeId) -> Result<Option<StoredVolume>, StoreError> {
        self.db
            .read(move |reader| {
                let row = reader.row(ONE, args![id.as_str()])?;
                row.as_ref().map(decode).transpose()
            })
            .await
    }

    /// All volumes, ordered by id.
    pub async fn volumes(&self) -> Result<Vec<StoredVolume>, StoreError> {
        self.db
            .read(move |reader| {
                let rows = reader.rows(ALL, &[])?;
                rows.iter().map(decode).collect()
            })
            .await
    }
}
