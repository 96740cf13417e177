use std::sync::Arc;

use http::StatusCode;
use mayfly_control_store::{App, By, MachineFilter, NewVolume, Volume, VolumeFilter};
use mayfly_host_api::{Filesystem, HostApi, HostError, VolumeSpec};
use mayfly_types::{ErrorKind, HostId, Region, VolumeId};
use serde::{Deserialize, Serialize};

use crate::cloud::Cloud;
use crate::error::ApiError;

/// In days, as documented.
const SNAPSHOT_RETENTION: i64 = 5;

/// What a new volume is like, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeWish {
    pub(crate) size_gb: u32,
    #[serde(default)]
    pub(crate) filesystem: Filesystem,
    /// Not changed afterwards unless given.
    #[serde(default)]
    pub(crate) snapshot_retention: Option<i64>,
    #[serde(default)]
    pub(crate) scheduled_snapshots: Option<bool>,
}

impl VolumeWish {
    pub(crate) fn of_size(size_gb: u32) -> Self {
        Self {
            size_gb,
            filesystem: Filesystem::default(),
            snapshot_retention: None,
            scheduled_snapshots: None,
        }
    }
}

/// Which volumes a new one keeps away from, if it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    /// Those of the same name.
    FromNamesakes,
    /// All of the app.
    FromAll,
    No,
}

impl Cloud {
    /// Makes a volume on the host of the region that has the fewest of those it keeps away from, then the fewest machines
    /// of the app.
    ///
    /// # Errors
    /// That no host of the region takes it, or what its host says. Then there is none.
    pub(crate) async fn make_volume(
        self: &Arc<Self>,
        app: &App,
        name: &str,
        region: &Region,
        wish: &VolumeWish,
        apart: Apart,
        by: &By,
    ) -> Result<Volume, ApiError> {
        let host_id = self.place_volume(app, name, region, apart).await?;
        let new = NewVolume {
            id: VolumeId::from_random(self.entropy.bytes()),
            app_id: app.id,
            name: name.to_owned(),
            region: region.clone(),
            host_id,
            size_gb: wish.size_gb,
            fstype: word(wish.filesystem).to_owned(),
            snapshot_retention: wish.snapshot_retention.unwrap_or(SNAPSHOT_RETENTION),
            scheduled_snapshots: wish.scheduled_snapshots.unwrap_or(true),
        };
        let volume = self.store.create_volume(new, by.clone()).await?;
        let spec = VolumeSpec {
            volume_id: volume.id,
            size_gib: volume.size_gb,
            filesystem: wish.filesystem,
        };
        let host = self.host_of_volume(&volume)?;
        match host.create_volume(spec).await {
            Ok(_) => Ok(self.store.volume_made(volume.id, by.clone()).await?),
            Err(error @ HostError::Refused(_)) => {
                self.store.volume_refused(volume.id, by.clone()).await?;
                Err(error.into())
            }
            Err(error) => {
                // It may have it or not: it shall not.
                self.drop_volume(&volume, by).await?;
                Err(error.into())
            }
        }
    }

    /// Has a volume removed that nobody was promised.
    pub(crate) async fn drop_volume(&self, volume: &Volume, by: &By) -> Result<(), ApiError> {
        let now = self.now();
        self.store
            .destroy_volume(volume.id, now, by.clone())
            .await?;
        self.volume_news.notify_one();
        Ok(())
    }

    pub(crate) fn host_of_volume(&self, volume: &Volume) -> Result<Arc<dyn HostApi>, HostError> {
        let member = self.hosts.find(volume.host_id);
        let member = member.ok_or_else(|| HostError::Failed {
            action: format!("ask the host of volume {}", volume.id),
            kind: ErrorKind::Unavailable,
            source: format!(
                "host {} (region {}) is not part of this cloud now",
                volume.host_id, volume.region
            )
            .into(),
        })?;
        Ok(member.api)
    }

    /// The volumes of an app that are not destroyed.
    pub(crate) async fn volumes_of(&self, app: &App) -> Result<Vec<Volume>, ApiError> {
        let filter = VolumeFilter {
            app: Some(app.id),
            ..VolumeFilter::default()
        };
        Ok(self.store.volumes(filter).await?)
    }

    async fn place_volume(
        &self,
        app: &App,
        name: &str,
        region: &Region,
        apart: Apart,
    ) -> Result<HostId, ApiError> {
        let (members, cordoned) = self.open_in(region).await?;
        let volumes = self.volumes_of(app).await?;
        let filter = MachineFilter {
            app: Some(app.id),
            ..MachineFilter::default()
        };
        let machines = self.store.machines(filter).await?;
        let mut ranked = Vec::with_capacity(members.len());
        for member in members {
            let answers = self.answers(self.store.host(member.id).await?.seen_at);
            let beside = volumes.iter().filter(|one| {
                let counts = match apart {
                    Apart::FromNamesakes => one.name == name,
                    Apart::FromAll => true,
                    Apart::No => false,
                };
                counts && one.host_id == member.id
            });
            let of_app = machines.iter().filter(|one| one.host_id == member.id);
            ranked.push((!answers, beside.count(), of_app.count(), member.id));
        }
        let best = ranked.into_iter().min().map(|(_, _, _, host)| host);
        best.ok_or_else(|| match cordoned {
            0 => ApiError::invalid(format!("region: there is no host in region {region}")),
            _ => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("could not reserve resource for volume: every host of region {region} is cordoned"),
            )
            .coded("insufficient_capacity"),
        })
    }
}

fn word(filesystem: Filesystem) -> &'static str {
    match filesystem {
        Filesystem::Ext4 => "ext4",
        Filesystem::Raw => "raw",
    }
}
