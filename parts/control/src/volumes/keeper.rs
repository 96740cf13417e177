use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{StoreError, Volume, VolumeFilter, VolumeState};
use mayfly_host_api::HostError;
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use tracing::{info, warn};

use crate::cloud::Cloud;

/// Between two looks; nobody counts on the second.
const EVERY: Duration = Duration::from_secs(5);

/// Why a volume is not yet as it shall be.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("ask the host")]
    Host(#[from] HostError),
    #[error("look into the store")]
    Store(#[from] StoreError),
}

/// Finishes what hosts did not do when they were asked: they make volumes larger, and remove those whose time is over.
pub(crate) struct VolumeKeeper {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

impl VolumeKeeper {
    pub(crate) async fn run(self, stop: Stop) {
        while !stop.is_cancelled() {
            let mut status = LoopStatus {
                ran_at: Some(self.cloud.now()),
                ..LoopStatus::default()
            };
            if let Err(error) = self.turn(&mut status).await {
                status.last_error = Some(report(&error));
            }
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.cloud.volume_news.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn turn(&self, status: &mut LoopStatus) -> Result<(), StoreError> {
        let filter = VolumeFilter {
            states: vec![VolumeState::Extending, VolumeState::PendingDestroy],
            ..VolumeFilter::default()
        };
        let now = self.cloud.now();
        for volume in self.cloud.store.volumes(filter).await? {
            if volume.destroy_at.is_some_and(|at| at > now) {
                continue;
            }
            match self.settle(&volume).await {
                Ok(()) => status.applied += 1,
                Err(error) => {
                    warn!(volume_id = %volume.id, error = report(&error), "a volume is not yet as it shall be");
                    status.waiting += 1;
                    status.last_error = Some(report(&error));
                }
            }
        }
        Ok(())
    }

    async fn settle(&self, volume: &Volume) -> Result<(), KeepError> {
        let (cloud, id) = (&self.cloud, volume.id);
        let host = cloud.host_of_volume(volume)?;
        let by = cloud.by_platform();
        if volume.state == VolumeState::PendingDestroy {
            host.destroy_volume(id).await?;
            info!(volume_id = %id, "a volume is gone");
            cloud.store.volume_destroyed(id, by).await?;
            return Ok(());
        }
        let (store, size_gb) = (&cloud.store, volume.size_gb);
        match host.extend_volume(id, size_gb).await {
            Ok(_) => store.volume_extended(id, size_gb, by).await?,
            Err(HostError::Refused(refusal)) => {
                warn!(volume_id = %id, refusal = refusal.to_string(), "a volume stays as small as it was");
                store.volume_not_extended(id, size_gb, by).await?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}
