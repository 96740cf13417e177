use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_control_store::{App, By, Machine, NewLease};
use mayfly_host_api::{HostError, UpdateMachine as HostUpdate};
use mayfly_machine::{Actor, Launch, Rights};
use mayfly_types::InstanceId;
use mayfly_wire::UpdateMachine;

use super::lease::{fresh_nonce, lease_ttl};
use super::prepare::WrittenConfig;
use crate::access::{Allowance, MachineAccess};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::ConfigBody;
use crate::secrets::SecretsWish;
use crate::volumes::{VolumeChoice, WantedMount, Within};

/// `POST …/machines/<id>`: replaces a machine's whole configuration.
pub(crate) async fn update(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    body: ConfigBody<UpdateMachine>,
) -> Result<Json<mayfly_wire::Machine>, ApiError> {
    access.may_change(&cloud)?;
    check_fixed(&access.machine, &body.request)?;
    let ttl = lease_ttl(body.request.lease_ttl)?;
    let (machine_id, owner) = (access.machine.id, access.caller.name());
    let (nonce, by) = (access.nonce.clone(), access.caller.by(&cloud));
    let change = Change::read(&cloud, access, body)?;
    let operation = Box::pin(change.carry_out(cloud.clone()));
    let machine = cloud.finish(operation).await?;
    let mut shown = cloud.full_view(machine).await?;
    if let Some(ttl) = ttl {
        let lease = NewLease {
            nonce: fresh_nonce(&cloud),
            owner,
            description: None,
            expires_at: cloud.now() + ttl,
        };
        let (lease, _) = cloud.store.take_lease(machine_id, lease, nonce, by).await?;
        shown.nonce = Some(lease.nonce);
    }
    Ok(Json(shown))
}

/// A machine's next version.
pub(crate) struct Change {
    pub(crate) app: App,
    pub(crate) machine: Machine,
    pub(crate) config: Option<WrittenConfig>,
    pub(crate) secrets: SecretsWish,
    /// The version the caller last saw.
    pub(crate) expected: Option<InstanceId>,
    pub(crate) nonce: Option<String>,
    pub(crate) skip_launch: bool,
    /// What the version may do; a user's are always ordinary.
    pub(crate) rights: Rights,
    pub(crate) allowance: Allowance,
    pub(crate) by: By,
}

impl Change {
    fn read(
        cloud: &Cloud,
        access: MachineAccess,
        body: ConfigBody<UpdateMachine>,
    ) -> Result<Self, ApiError> {
        let request = body.request;
        let current = request.current_version.as_deref();
        let expected: Option<InstanceId> = current
            .filter(|version| !version.is_empty())
            .map(str::parse)
            .transpose()
            .map_err(|error| ApiError::unreadable(format!("current_version: {error}")))?;
        Ok(Change {
            by: access.caller.by(cloud),
            allowance: access.allowance(),
            app: access.app,
            machine: access.machine,
            config: request.config.zip(body.config),
            secrets: SecretsWish {
                skip: request.skip_secrets == Some(true),
                min_version: request.min_secrets_version,
                at: None,
            },
            expected,
            nonce: access.nonce,
            skip_launch: request.skip_launch == Some(true),
            rights: Rights::Ordinary,
        })
    }

    /// Records the version, then asks the host for it.
    pub(crate) async fn carry_out(self, cloud: Arc<Cloud>) -> Result<Machine, ApiError> {
        let host = cloud.host_of(&self.machine)?;
        let wanted = self.config.as_ref().map(WantedMount::of).transpose()?;
        let config = match (wanted.flatten(), self.config) {
            (Some(wanted), Some(config)) => {
                let within = Within {
                    region: Some(&self.machine.region),
                    host: Some(self.machine.host_id),
                };
                let wanted = wanted.kept_by(&self.machine);
                let mounted = cloud.mount(
                    &self.app,
                    &wanted,
                    config,
                    within,
                    &VolumeChoice::Free,
                    &self.by,
                );
                Some(mounted.await?.config)
            }
            (_, config) => config,
        };
        let mut prepared = cloud
            .prepare(&self.app, host.as_ref(), config, self.secrets)
            .await?;
        cloud.check_allowance(&self.allowance, &prepared, &self.machine.region)?;
        prepared.version.spec.rights = self.rights;
        let machine = cloud
            .store
            .update_machine(
                self.machine.id,
                prepared.version,
                self.expected,
                self.nonce,
                self.by.clone(),
            )
            .await?;
        let standby = !machine.spec.standbys.is_empty();
        let launch = match self.skip_launch || standby {
            true => Launch::Skip,
            false => Launch::Now,
        };
        let asked = host
            .update(
                machine.id,
                HostUpdate {
                    instance_id: machine.instance_id,
                    spec: machine.spec.clone(),
                    secrets: prepared.secrets,
                    launch,
                    by: Actor::User,
                },
            )
            .await;
        match asked {
            Ok(report) => cloud.read_back(machine.id, &report).await,
            Err(error) => {
                let refused = matches!(error, HostError::Refused(_));
                let reverted = refused
                    && cloud
                        .store
                        .revert_machine(machine.id, machine.instance_id, self.by)
                        .await
                        .is_ok();
                if !reverted {
                    cloud.doubts.add(machine.id);
                }
                Err(error.into())
            }
        }
    }
}

/// A machine's name and region are for life.
fn check_fixed(machine: &Machine, request: &UpdateMachine) -> Result<(), ApiError> {
    let fixed = [
        ("name", request.name.as_deref(), machine.name.as_str()),
        ("region", request.region.as_deref(), machine.region.as_str()),
    ];
    for (field, wanted, own) in fixed {
        if wanted.is_some_and(|wanted| !wanted.is_empty() && wanted != own) {
            return Err(ApiError::invalid(format!(
                "{field} cannot be changed: the machine's is \"{own}\""
            )));
        }
    }
    Ok(())
}
