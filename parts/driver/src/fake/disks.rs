use std::collections::BTreeMap;

use mayfly_host_api::{VolumeSpace, VolumeSpec};
use mayfly_types::VolumeId;

use super::world::World;
use crate::{DriverError, VolumeDisk, VolumeHealth};

/// The volumes of the pretended host. Filesystems that are mounted do not grow.
#[derive(Default)]
pub(super) struct Disks(BTreeMap<VolumeId, Disk>);

struct Disk {
    size_gib: u32,
    filesystem_gib: u32,
    health: VolumeHealth,
}

impl Disks {
    pub(super) fn has(&self, volume: VolumeId) -> bool {
        self.0.contains_key(&volume)
    }

    fn find(&mut self, volume: VolumeId) -> Result<&mut Disk, DriverError> {
        let found = self.0.get_mut(&volume);
        found.ok_or_else(|| trouble(volume, "there is no such disk"))
    }
}

impl World {
    pub(super) fn make_volume(&mut self, spec: &VolumeSpec) {
        let disk = Disk {
            size_gib: spec.size_gib,
            filesystem_gib: spec.size_gib,
            health: VolumeHealth::Good,
        };
        self.disks.0.entry(spec.volume_id).or_insert(disk);
    }

    pub(super) fn grow_volume(
        &mut self,
        volume: VolumeId,
        size_gib: u32,
    ) -> Result<bool, DriverError> {
        let mounted = self.user_of(volume).is_some();
        let disk = self.disks.find(volume)?;
        disk.size_gib = disk.size_gib.max(size_gib);
        if !mounted {
            disk.filesystem_gib = disk.size_gib;
        }
        Ok(mounted)
    }

    pub(super) fn ready_volume(&mut self, volume: VolumeId) -> Result<VolumeHealth, DriverError> {
        if self.user_of(volume).is_some() {
            return Err(trouble(volume, "its disk is in use"));
        }
        let disk = self.disks.find(volume)?;
        disk.filesystem_gib = disk.size_gib;
        let health = disk.health.clone();
        if let VolumeHealth::Repaired(_) = health {
            disk.health = VolumeHealth::Good;
        }
        Ok(health)
    }

    pub(super) fn remove_volume(&mut self, volume: VolumeId) -> Result<(), DriverError> {
        if self.user_of(volume).is_some() {
            return Err(trouble(volume, "its disk is in use"));
        }
        self.disks.0.remove(&volume);
        Ok(())
    }

    pub(super) fn volume(&self, volume: VolumeId) -> Option<VolumeDisk> {
        let disk = self.disks.0.get(&volume)?;
        let blocks = u64::from(disk.filesystem_gib) << 18;
        Some(VolumeDisk {
            size_gib: disk.size_gib,
            stored_bytes: 1 << 20,
            space: Some(VolumeSpace {
                block_size: 4096,
                blocks,
                blocks_free: blocks,
                blocks_avail: blocks,
            }),
            needs_restart: disk.filesystem_gib < disk.size_gib,
        })
    }

    pub(super) fn volumes(&self) -> Vec<VolumeId> {
        self.disks.0.keys().copied().collect()
    }

    pub(super) fn set_volume_health(&mut self, volume: VolumeId, health: VolumeHealth) {
        if let Some(disk) = self.disks.0.get_mut(&volume) {
            disk.health = health;
        }
    }
}

fn trouble(volume: VolumeId, reason: &'static str) -> DriverError {
    DriverError::Host {
        action: format!("use volume {volume}"),
        source: reason.into(),
    }
}
