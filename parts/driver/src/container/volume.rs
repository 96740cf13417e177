use std::io;
use std::sync::Arc;

use mayfly_types::{MachineId, VolumeId};

use super::Inner;
use crate::DriverError;
use crate::volumes::LiveMount;

impl Inner {
    /// Does something that blocks with a volume.
    pub(super) async fn on_volume<T: Send + 'static>(
        self: &Arc<Self>,
        action: &'static str,
        volume: VolumeId,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        let inner = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| DriverError::Host {
                action: format!("{action} volume {volume}"),
                source: source.into(),
            })
    }

    /// Where a running machine has a volume mounted.
    pub(super) fn live_mount(&self, volume: VolumeId, machine: MachineId) -> Option<LiveMount> {
        let (guest, _) = self.running(machine).ok()?;
        let volumes = self.run_dir(machine).volumes().ok()?;
        let mounted = volumes.into_iter().find(|one| one.volume_id == volume)?;
        LiveMount::find(guest.init_pid, &mounted.guest_path)
    }
}
