//! The volumes of this host: journaled first, then made, grown or removed by the driver.
//!
//! A volume is attached to the machine whose version names it; there is no other record of that. Whatever changes a
//! volume or attaches one holds its lock from the look at the journal until its own row is written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mayfly_driver::{DriverError, VolumeHealth};
use mayfly_host_api::{
    Filesystem, HostError, Refusal, VolumeExtended, VolumeReport, VolumeSpec, VolumeState,
};
use mayfly_host_store::{StoredVolume, VolumePhase};
use mayfly_machine::{Machine, MachineSpec, MachineState, Phase};
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_types::{ErrorKind, MachineId, VolumeId};
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use crate::error;
use crate::host::Shared;

/// Between the tries to go on with what a crash interrupted.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    most: Duration::from_secs(60),
};

/// One lock per volume that is being worked on.
#[derive(Default)]
pub(crate) struct VolumeLocks(Mutex<HashMap<VolumeId, Weak<tokio::sync::Mutex<()>>>>);

pub(crate) type VolumeLock = OwnedMutexGuard<()>;

impl VolumeLocks {
    async fn lock(&self, volume: VolumeId) -> VolumeLock {
        let lock = {
            let mut locks = self.0.lock().expect("no holder of this lock panics");
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(&volume).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            locks.insert(volume, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

impl Shared {
    pub(crate) async fn create_volume(&self, spec: VolumeSpec) -> Result<VolumeReport, HostError> {
        let id = spec.volume_id;
        if spec.filesystem == Filesystem::Raw {
            let reason = "a raw volume takes a machine with a kernel of its own: use ext4";
            return Err(Refusal::Unsupported(reason.to_owned()).into());
        }
        let _lock = self.volume_locks.lock(id).await;
        match self.stored_volume(id).await? {
            Some(stored) if stored.phase == VolumePhase::Removing || stored.spec != spec => {
                return Err(Refusal::VolumeExists(id).into());
            }
            Some(stored) if stored.phase == VolumePhase::Ready => {
                return self.volume_report(stored).await;
            }
            Some(_) => {}
            None => {
                self.check_room(spec.size_gib)?;
                let kept = self.store.insert_volume(spec, self.now()).await;
                kept.map_err(|source| error::volume("store", id, source))?;
            }
        }
        let stored = self.make_volume(spec).await?;
        self.volume_report(stored).await
    }

    /// Makes what the journal says is to be made. What cannot be made is not left half done, nor in the journal.
    async fn make_volume(&self, spec: VolumeSpec) -> Result<StoredVolume, HostError> {
        let id = spec.volume_id;
        let driver = &self.deps.driver;
        if let Err(failure) = driver.make_volume(&spec).await {
            // Of which the failure may be the last part.
            if driver.remove_volume(id).await.is_ok() {
                let forgotten = self.store.forget_volume(id).await;
                forgotten.map_err(|source| error::volume("forget", id, source))?;
            }
            return Err(error::of_volume(failure));
        }
        let stored = StoredVolume {
            spec,
            phase: VolumePhase::Ready,
        };
        self.keep_volume(stored).await?;
        info!(volume_id = %id, size_gib = spec.size_gib, "volume made");
        Ok(stored)
    }

    pub(crate) async fn extend_volume(
        &self,
        id: VolumeId,
        size_gib: u32,
    ) -> Result<VolumeExtended, HostError> {
        let _lock = self.volume_locks.lock(id).await;
        let mut stored = self.ready_volume(id).await?;
        let had = stored.spec.size_gib;
        if size_gib < had {
            return Err(Refusal::Shrinks {
                volume: id,
                size_gib: had,
            }
            .into());
        }
        if size_gib > had {
            self.check_room(size_gib)?;
            stored.spec.size_gib = size_gib;
            self.keep_volume(stored).await?;
        }
        let machine = self.attached_machine(id);
        let driver = &self.deps.driver;
        match driver.grow_volume(id, size_gib, machine).await {
            Ok(needs_restart) => {
                info!(volume_id = %id, size_gib, needs_restart, "volume extended");
                let volume = self.volume_report(stored).await?;
                Ok(VolumeExtended {
                    volume,
                    needs_restart,
                })
            }
            Err(failure) => {
                // The journal goes on saying what there is.
                let disk = driver.volume(id, None).await.ok().flatten();
                stored.spec.size_gib = disk.map_or(had, |disk| disk.size_gib.max(had));
                self.keep_volume(stored).await?;
                Err(error::of_volume(failure))
            }
        }
    }

    pub(crate) async fn destroy_volume(&self, id: VolumeId) -> Result<(), HostError> {
        let _lock = self.volume_locks.lock(id).await;
        let Some(stored) = self.stored_volume(id).await? else {
            return Ok(());
        };
        if let Some(machine) = self.attached_machine(id) {
            return Err(Refusal::VolumeInUse {
                volume: id,
                machine,
            }
            .into());
        }
        self.keep_volume(StoredVolume {
            phase: VolumePhase::Removing,
            ..stored
        })
        .await?;
        self.remove_volume(id).await
    }

    async fn remove_volume(&self, id: VolumeId) -> Result<(), HostError> {
        let removed = self.deps.driver.remove_volume(id).await;
        removed.map_err(error::of_volume)?;
        let forgotten = self.store.forget_volume(id).await;
        forgotten.map_err(|source| error::volume("forget", id, source))?;
        info!(volume_id = %id, "volume removed");
        Ok(())
    }

    pub(crate) async fn volume(&self, id: VolumeId) -> Result<VolumeReport, HostError> {
        let stored = self.stored_volume(id).await?;
        self.volume_report(stored.ok_or(HostError::UnknownVolume(id))?)
            .await
    }

    pub(crate) async fn volumes(&self) -> Result<Vec<VolumeReport>, HostError> {
        let stored = self.store.volumes().await;
        let stored = stored.map_err(|source| error::store("read the volumes", source))?;
        let attached = self.attachments();
        let mut reports = Vec::with_capacity(stored.len());
        for volume in stored {
            let machine = attached.get(&volume.spec.volume_id).copied();
            reports.push(self.report_of(volume, machine).await?);
        }
        Ok(reports)
    }

    /// Holds that a machine may have the volumes of its version. The locks are to be kept until that version is stored.
    pub(crate) async fn attach(
        &self,
        machine: MachineId,
        spec: &MachineSpec,
    ) -> Result<Vec<VolumeLock>, HostError> {
        let mut volumes: Vec<VolumeId> = spec.mounts.iter().map(|mount| mount.volume).collect();
        // Always in the same order: two that wait for each other would wait for ever.
        volumes.sort();
        volumes.dedup();
        let mut locks = Vec::new();
        for volume in volumes {
            locks.push(self.volume_locks.lock(volume).await);
            match self.stored_volume(volume).await? {
                Some(stored) if stored.phase == VolumePhase::Ready => {}
                _ => return Err(Refusal::VolumeNotHere(volume).into()),
            }
            match self.attached_machine(volume) {
                Some(other) if other != machine => {
                    return Err(Refusal::VolumeInUse {
                        volume,
                        machine: other,
                    }
                    .into());
                }
                _ => {}
            }
        }
        Ok(locks)
    }

    /// Makes the volumes of a machine that is about to be launched usable; returns what was repaired.
    ///
    /// # Errors
    /// Whether it is the volume's fault or may pass, and why.
    pub(crate) async fn ready_volumes(
        &self,
        machine: &Machine,
    ) -> Result<Vec<(VolumeId, String)>, DriverError> {
        let mut repairs = Vec::new();
        for mount in &machine.version.spec.mounts {
            let volume = mount.volume;
            match self.deps.driver.ready_volume(volume).await? {
                VolumeHealth::Good => {}
                VolumeHealth::Repaired(said) => {
                    let machine_id = machine.identity.machine_id;
                    warn!(%machine_id, volume_id = %volume, said, "volume repaired");
                    repairs.push((volume, said));
                }
                VolumeHealth::Damaged(said) => {
                    return Err(DriverError::Guest {
                        reason: format!("volume {volume} is damaged: {said}"),
                    });
                }
            }
        }
        Ok(repairs)
    }

    /// Goes on with what was under way when the host ended.
    pub(crate) async fn recover_volumes(self: Arc<Self>, stop: Stop) {
        let mut attempt = 0;
        while !stop.is_cancelled() {
            match self.recover_each_volume().await {
                Ok(()) => return,
                Err(error) => {
                    warn!(error = report(&error), "volume not recovered; trying again");
                }
            }
            let pause = tokio::time::sleep(RETRY.pause(attempt));
            stop.run_until_cancelled(pause).await;
            attempt += 1;
        }
    }

    async fn recover_each_volume(&self) -> Result<(), HostError> {
        let volumes = self.store.volumes().await;
        for known in volumes.map_err(|source| error::store("read the volumes", source))? {
            let id = known.spec.volume_id;
            let _lock = self.volume_locks.lock(id).await;
            // As it is now that nobody else works on it.
            let Some(stored) = self.stored_volume(id).await? else {
                continue;
            };
            match stored.phase {
                VolumePhase::Making => drop(self.make_volume(stored.spec).await?),
                VolumePhase::Removing => self.remove_volume(id).await?,
                VolumePhase::Ready => {
                    let machine = self.attached_machine(id);
                    let driver = &self.deps.driver;
                    let disk = driver.volume(id, machine).await.map_err(error::of_volume)?;
                    let size_gib = stored.spec.size_gib;
                    match disk {
                        Some(disk) if disk.size_gib < size_gib => {
                            let grown = driver.grow_volume(id, size_gib, machine).await;
                            grown.map_err(error::of_volume)?;
                        }
                        Some(_) => {}
                        None => warn!(volume_id = %id, "the disk of a volume is missing"),
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses what this host's disk could never hold. Volumes are thin: what they hold together may be more.
    fn check_room(&self, size_gib: u32) -> Result<(), HostError> {
        let directory = &self.config.data_dir;
        let found = rustix::fs::statvfs(directory).map_err(|source| HostError::Failed {
            action: format!("look at the disk of {}", directory.display()),
            kind: ErrorKind::Internal,
            source: Box::new(source),
        })?;
        let disk_gib = (found.f_blocks * found.f_frsize) >> 30;
        if u64::from(size_gib) <= disk_gib {
            return Ok(());
        }
        Err(Refusal::NoSpace(format!(
            "{size_gib} GB wanted, this host's disk has {disk_gib} GB"
        ))
        .into())
    }

    async fn stored_volume(&self, id: VolumeId) -> Result<Option<StoredVolume>, HostError> {
        let found = self.store.volume(id).await;
        found.map_err(|source| error::volume("read", id, source))
    }

    async fn ready_volume(&self, id: VolumeId) -> Result<StoredVolume, HostError> {
        let stored = self.stored_volume(id).await?;
        stored
            .filter(|stored| stored.phase == VolumePhase::Ready)
            .ok_or(HostError::UnknownVolume(id))
    }

    async fn keep_volume(&self, volume: StoredVolume) -> Result<(), HostError> {
        let kept = self.store.store_volume(volume).await;
        kept.map_err(|source| error::volume("store", volume.spec.volume_id, source))
    }

    fn attached_machine(&self, volume: VolumeId) -> Option<MachineId> {
        self.attachments().get(&volume).copied()
    }

    /// The volumes that machines have in their version, or in the one whose guest still runs.
    fn attachments(&self) -> HashMap<VolumeId, MachineId> {
        let mut attached = HashMap::new();
        for stored in self.registry.all() {
            let machine = &stored.machine;
            let volumes = volumes_of(machine);
            attached.extend(volumes.map(|volume| (volume, machine.identity.machine_id)));
        }
        attached
    }

    async fn volume_report(&self, stored: StoredVolume) -> Result<VolumeReport, HostError> {
        let machine = self.attached_machine(stored.spec.volume_id);
        self.report_of(stored, machine).await
    }

    async fn report_of(
        &self,
        stored: StoredVolume,
        machine: Option<MachineId>,
    ) -> Result<VolumeReport, HostError> {
        let spec = stored.spec;
        let disk = self.deps.driver.volume(spec.volume_id, machine).await;
        let disk = disk.map_err(error::of_volume)?;
        let state = match stored.phase {
            VolumePhase::Making => VolumeState::Creating,
            VolumePhase::Removing => VolumeState::Destroying,
            VolumePhase::Ready if disk.is_some_and(|disk| disk.needs_restart) => {
                VolumeState::NeedsRestart
            }
            VolumePhase::Ready => VolumeState::Ready,
        };
        Ok(VolumeReport {
            volume_id: spec.volume_id,
            host_id: self.host_id,
            size_gib: spec.size_gib,
            filesystem: spec.filesystem,
            state,
            attached_machine: machine,
            stored_bytes: disk.map_or(0, |disk| disk.stored_bytes),
            space: disk.and_then(|disk| disk.space),
        })
    }
}

fn volumes_of(machine: &Machine) -> impl Iterator<Item = VolumeId> {
    let previous = match &machine.phase {
        Phase::Updating { previous, .. } => Some(&previous.spec),
        _ => None,
    };
    let current = (machine.state() != MachineState::Destroyed).then_some(&machine.version.spec);
    let specs = current.into_iter().chain(previous);
    specs.flat_map(|spec| spec.mounts.iter().map(|mount| mount.volume))
}
