use mayfly_types::{HostId, MachineId, VolumeId};
use serde::{Deserialize, Serialize};

/// A volume as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub volume_id: VolumeId,
    /// At least 1. The space is taken from the host's disk as it is written to, not before.
    pub size_gib: u32,
    pub filesystem: Filesystem,
}

/// What a new volume holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filesystem {
    #[default]
    Ext4,
    /// Nothing: the machine sees a block device at the mount path instead of a directory.
    Raw,
}

/// What a host says about one of its volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    pub volume_id: VolumeId,
    pub host_id: HostId,
    /// The size it was last asked to have.
    pub size_gib: u32,
    pub filesystem: Filesystem,
    pub state: VolumeState,
    /// The machine whose configuration has it, running or not.
    pub attached_machine: Option<MachineId>,
    /// What it takes of the host's disk now.
    pub stored_bytes: u64,
    /// As `statfs` tells; of a volume that is not mounted, as when it last was. `None` for raw ones.
    pub space: Option<VolumeSpace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeState {
    /// Journaled; its files are being made, or could not be made yet.
    Creating,
    Ready,
    /// Its filesystem is smaller than the volume until its machine is started anew.
    NeedsRestart,
    Destroying,
}

/// The room in a volume's filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpace {
    /// In bytes; the unit of the others.
    pub block_size: u64,
    pub blocks: u64,
    /// Not in use by anything.
    pub blocks_free: u64,
    /// What a program that is not root can still write.
    pub blocks_avail: u64,
}

/// What came of the wish for a larger volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeExtended {
    pub volume: VolumeReport,
    /// The machine that runs with it sees the new size after its next start.
    pub needs_restart: bool,
}
