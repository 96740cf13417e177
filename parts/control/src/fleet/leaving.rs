//! Hosts that take nothing new, that are emptied, and that leave.

use std::time::Duration;

use http::StatusCode;
use mayfly_control_store::{By, Host, Machine, MachineFilter, StoreError};
use mayfly_host_api::{Actor, StopMachine};
use mayfly_machine::MachineState;
use mayfly_types::{HostId, MachineId};
use serde::Serialize;
use tracing::{info, warn};

use crate::cloud::Cloud;
use crate::error::ApiError;

/// How long a host that leaves may take to destroy its machines; it hears of its removal anyway when it comes back.
const GOODBYE: Duration = Duration::from_secs(10);

/// What came of draining a host.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drained {
    /// Asked to stop: others of their apps run elsewhere.
    pub(crate) stopped: Vec<MachineId>,
    /// They run on: nothing else of their process group runs on another host.
    pub(crate) remaining: Vec<MachineId>,
}

impl Cloud {
    /// Cordons a host and stops what others can stand in for. Nothing of an app is stopped whose last it is.
    pub(crate) async fn drain_host(&self, host: &Host, by: By) -> Result<Drained, ApiError> {
        self.store.set_host_cordon(host.id, true, by).await?;
        let api = self.hosts.find(host.id).map(|member| member.api);
        let api = api.ok_or_else(|| unknown(host.id))?;
        let mut drained = Drained {
            stopped: Vec::new(),
            remaining: Vec::new(),
        };
        for machine in self.living_on(host.id).await? {
            if machine.state != MachineState::Started {
                continue;
            }
            if !self.runs_elsewhere(&machine).await? {
                drained.remaining.push(machine.id);
                continue;
            }
            let request = StopMachine {
                signal: None,
                patience: None,
                by: Actor::Platform,
            };
            api.stop(machine.id, request).await?;
            drained.stopped.push(machine.id);
        }
        Ok(drained)
    }

    async fn runs_elsewhere(&self, machine: &Machine) -> Result<bool, StoreError> {
        let filter = MachineFilter {
            app: Some(machine.app_id),
            ..MachineFilter::default()
        };
        let group = |machine: &Machine| machine.spec.metadata.get("fly_process_group").cloned();
        let others = self.store.machines(filter).await?;
        Ok(others.iter().any(|other| {
            other.host_id != machine.host_id
                && other.state == MachineState::Started
                && !other.cordoned
                && group(other) == group(machine)
        }))
    }

    /// Takes a host out of the fleet. Its machines are destroyed: on the host as far as it is reached, and in any case
    /// here, with the reason, so that nobody waits for them. A host that was away learns of it when it comes back, and
    /// destroys them then.
    ///
    /// # Errors
    /// 409 for a host of the control plane's server, and without `force` for one with machines.
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

    pub(crate) async fn living_on(&self, host: HostId) -> Result<Vec<Machine>, StoreError> {
        let filter = MachineFilter {
            host: Some(host),
            ..MachineFilter::default()
        };
        self.store.machines(filter).await
    }
}

pub(super) fn unknown(host: HostId) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("host {host} cannot be asked now"),
    )
    .retry_after(1)
}
