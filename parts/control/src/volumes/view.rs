use std::collections::{BTreeMap, BTreeSet};

use mayfly_control_store::Volume;
use mayfly_host_api::VolumeReport;
use mayfly_types::{HostId, VolumeId};
use mayfly_wire::AppVolume;

use crate::cloud::Cloud;
use crate::error::ApiError;

/// Letters of a host's id that name its zone.
const ZONE_LETTERS: usize = 4;

impl Cloud {
    /// Volumes as the API shows them, in their order, with what their hosts say of their space.
    pub(super) async fn show_volumes(
        &self,
        volumes: Vec<Volume>,
    ) -> Result<Vec<AppVolume>, ApiError> {
        let mut hosts: BTreeMap<HostId, Option<BTreeMap<VolumeId, VolumeReport>>> = BTreeMap::new();
        let asked: BTreeSet<HostId> = volumes.iter().map(|volume| volume.host_id).collect();
        for host in asked {
            hosts.insert(host, self.reports_of(host).await?);
        }
        let shown = volumes.into_iter().map(|volume| {
            let of_host = hosts.get(&volume.host_id).and_then(Option::as_ref);
            let report = of_host.and_then(|reports| reports.get(&volume.id));
            view(volume, report, of_host.is_some())
        });
        Ok(shown.collect())
    }

    pub(super) async fn show_volume(&self, volume: Volume) -> Result<AppVolume, ApiError> {
        let host = self.hosts.find(volume.host_id);
        let is_heard = self.is_heard(volume.host_id).await?;
        let report = match host.filter(|_| is_heard) {
            Some(member) => member.api.volume(volume.id).await.ok(),
            None => None,
        };
        Ok(view(volume, report.as_ref(), is_heard))
    }

    /// What a host says of its volumes; `None` if it does not answer.
    async fn reports_of(
        &self,
        host: HostId,
    ) -> Result<Option<BTreeMap<VolumeId, VolumeReport>>, ApiError> {
        let Some(member) = self.hosts.find(host) else {
            return Ok(None);
        };
        if !self.is_heard(host).await? {
            return Ok(None);
        }
        let reports = member.api.volumes().await.ok();
        Ok(reports.map(|reports| {
            let by_id = reports.into_iter().map(|report| (report.volume_id, report));
            by_id.collect()
        }))
    }

    /// Whether a host was heard of a short while ago. Those of this server need not be heard.
    async fn is_heard(&self, host: HostId) -> Result<bool, ApiError> {
        match self.hosts.find(host) {
            None => Ok(false),
            Some(member) if member.is_local => Ok(true),
            Some(_) => Ok(self.store.host(host).await?.reach.reachable),
        }
    }
}

fn view(volume: Volume, report: Option<&VolumeReport>, is_heard: bool) -> AppVolume {
    let space = report.and_then(|report| report.space).unwrap_or_default();
    AppVolume {
        id: volume.id.to_string(),
        name: volume.name,
        state: volume.state.to_string(),
        size_gb: volume.size_gb,
        region: volume.region.to_string(),
        zone: volume.host_id.as_str().chars().take(ZONE_LETTERS).collect(),
        encrypted: false,
        attached_machine_id: volume.machine_id.map(|machine| machine.to_string()),
        attached_alloc_id: None,
        created_at: Some(volume.created_at),
        blocks: space.blocks,
        block_size: space.block_size,
        blocks_free: space.blocks_free,
        blocks_avail: space.blocks_avail,
        fstype: volume.fstype,
        snapshot_retention: volume.snapshot_retention,
        auto_backup_enabled: volume.scheduled_snapshots,
        host_dedication_key: String::new(),
        host_status: match is_heard {
            true => "ok".to_owned(),
            false => "unreachable".to_owned(),
        },
        bytes_used: report.map_or(0, |report| report.stored_bytes),
        destroy_at: volume.destroy_at,
        app_name: None,
    }
}
