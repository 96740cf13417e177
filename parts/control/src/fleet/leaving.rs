//! Hosts that leave.

use std::time::Duration;

use mayfly_control_store::{By, Host, Machine, MachineFilter, StoreError, VolumeFilter};
use mayfly_host_api::Actor;
use mayfly_types::HostId;
use tracing::{info, warn};

use crate::cloud::Cloud;
use crate::error::ApiError;

/// How long a host that leaves may take to destroy its machines; it hears of its removal anyway when it comes back.
const GOODBYE: Duration = Duration::from_secs(10);

impl Cloud {
    /// Takes a host out of the fleet. Its machines are destroyed: on the host as far as it is reached, and in any case
    /// here, with the reason, so that nobody waits for them. A host that was away learns of it when it comes back, and
    /// destroys them then.
    ///
    /// # Errors
    /// 409 for a host of the control plane's server, and without `force` for one with machines or volumes.
    pub(crate) async fn remove_host(
        &self,
        host: &Host,
        force: bool,
        by: By,
    ) -> Result<(), ApiError> {
        if host.server_id.is_none() {
            return Err(ApiError::conflict(format!(
                "host {} is on the server of the control plane, which cannot be removed",
                host.id
            )));
        }
        let machines = self.living_on(host.id).await?;
        if !machines.is_empty() && !force {
            return Err(ApiError::conflict(format!(
                "{} machines live on host {}: destroy them first, or remove the host with force=true and lose them",
                machines.len(),
                host.id
            )));
        }
        let volumes = self.volumes_on(host.id).await?;
        if volumes > 0 && !force {
            return Err(ApiError::conflict(format!(
                "{volumes} volumes are on host {}: destroy them first, or remove the host with force=true and lose them",
                host.id
            )));
        }
        // From here on nothing new comes.
        self.store
            .set_host_cordon(host.id, true, by.clone())
            .await?;
        if host.reach.reachable {
            self.destroy_there(host.id, &machines).await;
        }
        let reason = format!("its host {} was removed from the fleet", host.id);
        loop {
            for machine in self.living_on(host.id).await? {
                let reason = reason.clone();
                self.store
                    .abandon_machine(machine.id, reason, by.clone())
                    .await?;
            }
            match self.store.remove_host(host.id, by.clone()).await {
                // One was on its way when the cordon came.
                Err(StoreError::HostNotEmpty { .. }) => {}
                removed => break removed?,
            }
        }
        self.refresh_fleet().await?;
        info!(host_id = %host.id, machines = machines.len(), "host removed from the fleet");
        Ok(())
    }

    /// As far as the host answers within [`GOODBYE`].
    async fn destroy_there(&self, host: HostId, machines: &[Machine]) {
        let Some(member) = self.hosts.find(host) else {
            return;
        };
        let destroy = async {
            for machine in machines {
                member
                    .api
                    .destroy(machine.id, true, Actor::Platform)
                    .await?;
            }
            Ok::<(), mayfly_host_api::HostError>(())
        };
        match tokio::time::timeout(GOODBYE, destroy).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(host_id = %host, error = mayfly_runtime::report(&error), "a host that leaves did not destroy all its machines");
            }
            Err(_) => warn!(host_id = %host, "a host that leaves is slow to destroy its machines"),
        }
    }

    /// How many volumes are on a host that somebody could still use.
    async fn volumes_on(&self, host: HostId) -> Result<usize, StoreError> {
        let filter = VolumeFilter {
            host: Some(host),
            ..VolumeFilter::default()
        };
        let volumes = self.store.volumes(filter).await?;
        let kept = volumes.iter().filter(|volume| volume.destroy_at.is_none());
        Ok(kept.count())
    }

    pub(crate) async fn living_on(&self, host: HostId) -> Result<Vec<Machine>, StoreError> {
        let filter = MachineFilter {
            host: Some(host),
            ..MachineFilter::default()
        };
        self.store.machines(filter).await
    }
}
