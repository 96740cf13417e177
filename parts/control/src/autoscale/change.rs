use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{AutoscaleAction, AutoscaleChange, Machine};
use mayfly_deploy::Readiness;
use mayfly_types::ErrorKind;
use tracing::info;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::releases::{counts_in, release_of};

/// How long a machine that cannot be made is tried for.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Does what is next of a change, by what store and host say now; it may be repeated.
///
/// # Errors
/// Those that pass: the step is taken again.
pub(super) async fn step(cloud: &Arc<Cloud>, change: &AutoscaleChange) -> Result<(), ApiError> {
    let machine = match cloud.store.machine(change.machine_id).await {
        Ok(machine) => Some(machine),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    match (change.action, machine) {
        (AutoscaleAction::Grow, None) => make(cloud, change).await,
        (AutoscaleAction::Grow, Some(machine)) => await_it(cloud, change, &machine).await,
        (AutoscaleAction::Shrink, Some(machine)) if machine.destroyed_at.is_none() => {
            if let Some(lease) = machine.lease_at(cloud.now()) {
                return Err(ApiError::conflict(format!(
                    "{} holds its lease",
                    lease.owner
                )));
            }
            if cloud.wind_down(&machine, change.began_at).await? {
                cloud
                    .destroy_machine(&machine, true, &cloud.by_autoscaler())
                    .await?;
            }
            Ok(())
        }
        (AutoscaleAction::Shrink, _) => end(cloud, change, None).await,
    }
}

async fn make(cloud: &Arc<Cloud>, change: &AutoscaleChange) -> Result<(), ApiError> {
    let app = cloud.store.app_by_id(change.app_id).await?;
    let id = change.machine_id;
    let made = Box::pin(cloud.make_alike(app, &change.group, &change.region, id)).await;
    match made {
        Ok(()) => Ok(()),
        Err(error) if error.is_final() || is_late(cloud, change) => {
            end(cloud, change, Some(error.text().to_owned())).await
        }
        Err(error) => Err(error),
    }
}

async fn await_it(
    cloud: &Arc<Cloud>,
    change: &AutoscaleChange,
    machine: &Machine,
) -> Result<(), ApiError> {
    if machine.destroyed_at.is_some() {
        let problem = "it was destroyed before it was up".to_owned();
        return end(cloud, change, Some(problem)).await;
    }
    match cloud.readiness_of(machine).await? {
        Readiness::Waiting => Ok(()),
        Readiness::Up if is_outdated(cloud, machine).await? => {
            let problem = "a release has come before it was up".to_owned();
            give_up(cloud, change, machine, problem).await
        }
        Readiness::Up => {
            info!(machine_id = %machine.id, "a machine that the load made is up");
            end(cloud, change, None).await
        }
        Readiness::Broken(reason) => give_up(cloud, change, machine, reason).await,
    }
}

/// Whether the others of its group have a later release. Whoever releases changes what is there when it begins.
async fn is_outdated(cloud: &Cloud, machine: &Machine) -> Result<bool, ApiError> {
    let app = cloud.store.app_by_id(machine.app_id).await?;
    let machines = cloud.machines_of(&app, false).await?;
    let group = crate::releases::group_of(machine);
    let others = machines.iter().filter(|one| counts_in(one, &group));
    let newest = others.map(release_of).max().unwrap_or_default();
    Ok(release_of(machine) < newest)
}

async fn give_up(
    cloud: &Cloud,
    change: &AutoscaleChange,
    machine: &Machine,
    problem: String,
) -> Result<(), ApiError> {
    cloud
        .destroy_machine(machine, true, &cloud.by_autoscaler())
        .await?;
    end(cloud, change, Some(problem)).await
}

async fn end(
    cloud: &Cloud,
    change: &AutoscaleChange,
    problem: Option<String>,
) -> Result<(), ApiError> {
    let by = cloud.by_autoscaler();
    let ended = cloud
        .store
        .end_autoscale_change(change.clone(), problem, by);
    Ok(ended.await?)
}

fn is_late(cloud: &Cloud, change: &AutoscaleChange) -> bool {
    cloud.now().since(change.began_at) >= PATIENCE
}
