use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_control_store::{Machine, NewLease};
use mayfly_host_api::{HostError, UpdateMachine as HostUpdate};
use mayfly_machine::{Actor, Launch};
use mayfly_types::InstanceId;
use mayfly_wire::UpdateMachine;

use super::lease::{fresh_nonce, lease_ttl};
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::ConfigBody;
use crate::secrets::SecretsWish;

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
    let operation = Box::pin(carry_out(cloud.clone(), access, body));
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

/// Records the version, then asks the host for it.
async fn carry_out(
    cloud: Arc<Cloud>,
    access: MachineAccess,
    body: ConfigBody<UpdateMachine>,
) -> Result<Machine, ApiError> {
    let request = body.request;
    let current = request.current_version.as_deref();
    let expected: Option<InstanceId> = current
        .filter(|version| !version.is_empty())
        .map(str::parse)
        .transpose()
        .map_err(|error| ApiError::unreadable(format!("current_version: {error}")))?;
    let config = request.config.zip(body.config);
    let host = cloud.host_of(&access.machine)?;
    let wish = SecretsWish {
        skip: request.skip_secrets,
        min_version: request.min_secrets_version,
    };
    let prepared = cloud
        .prepare(&access.app, host.as_ref(), config, wish)
        .await?;
    let by = access.caller.by(&cloud);
    let machine = cloud
        .store
        .update_machine(
            access.machine.id,
            prepared.version,
            expected,
            access.nonce,
            by.clone(),
        )
        .await?;
    let standby = !machine.spec.standbys.is_empty();
    let launch = match request.skip_launch {
        Some(true) => Launch::Skip,
        _ if standby => Launch::Skip,
        _ => Launch::Now,
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
                    .revert_machine(machine.id, machine.instance_id, by)
                    .await
                    .is_ok();
            if !reverted {
                cloud.doubts.add(machine.id);
            }
            Err(error.into())
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
