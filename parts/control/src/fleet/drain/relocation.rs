use std::sync::Arc;

use mayfly_control_store::{HostMove, Machine, MoveStage, StoreError};
use mayfly_machine::Rights;
use mayfly_types::{ErrorKind, MachineId};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tracing::{info, warn};

use super::rule::{Readiness, readiness};
use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::machines::checks::Checks;
use crate::machines::create::Order;
use crate::machines::update::Change;
use crate::secrets::SecretsWish;
use crate::volumes::VolumeChoice;

/// Enough to find the last end of a replacement.
const HISTORY: u32 = 10;

/// Why a step could not be taken; it is taken again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Later(String),
    #[error("read the configuration of machine {machine_id}")]
    Config {
        machine_id: MachineId,
        #[source]
        source: serde_json::Error,
    },
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        StepError::Later(error.text().to_owned())
    }
}

/// One move and what is known of it.
pub(super) struct Relocation<'a> {
    pub(super) cloud: &'a Arc<Cloud>,
    pub(super) moving: &'a HostMove,
    /// Whether its host is still being emptied.
    pub(super) wanted: bool,
    /// Whether a release changes machines of its app.
    pub(super) releasing: bool,
}

impl Relocation<'_> {
    /// Does what is next, if anything is.
    pub(super) async fn step(&self) -> Result<(), StepError> {
        let moving = self.moving;
        let machine = self.find(moving.machine_id).await?;
        let machine = machine.filter(|machine| machine.destroyed_at.is_none());
        let replacement = self.find(moving.replacement_id).await?;
        match (moving.stage, machine) {
            (MoveStage::Replacing, Some(machine)) => self.replace(&machine, replacement).await,
            (MoveStage::Replacing, None) => {
                // With its host it was lost; else its user has destroyed it, and wants no other.
                match self.host_is_gone().await? {
                    true => self.enter(MoveStage::Done, None).await,
                    false => self.give_up(replacement).await,
                }
            }
            (MoveStage::Retiring, Some(machine)) => self.retire(&machine).await,
            (MoveStage::Retiring, None) => {
                info!(machine_id = %moving.machine_id, replacement = %moving.replacement_id, "a machine has moved");
                self.enter(MoveStage::Done, None).await
            }
            (MoveStage::Done | MoveStage::Failed, _) => Ok(()),
        }
    }

    async fn replace(
        &self,
        machine: &Machine,
        replacement: Option<Machine>,
    ) -> Result<(), StepError> {
        if !self.wanted {
            return self.give_up(replacement).await;
        }
        // What it makes of its machines is awaited, and what it made of this one is copied anew.
        if self.releasing {
            return Ok(());
        }
        let Some(replacement) = replacement else {
            return self.make(machine).await;
        };
        // Given up by us, since its host never heard of it.
        let unheard = replacement.destroyed_at.is_some() && !replacement.is_delivered();
        if unheard || !is_alike(machine, &replacement) {
            return self.give_up(Some(replacement)).await;
        }
        let cloud = self.cloud;
        let events = cloud.store.machine_events(replacement.id, HISTORY).await?;
        let checks = Checks::now(&cloud.hosts).of(&replacement);
        let moving = self.moving;
        match readiness(
            &replacement,
            moving.launches,
            &events,
            &checks,
            moving.stage_since,
            cloud.now(),
        ) {
            Readiness::Waiting => Ok(()),
            Readiness::Up => self.enter(MoveStage::Retiring, None).await,
            Readiness::Failed(reason) => {
                self.destroy(Some(replacement)).await?;
                self.fail(reason).await
            }
        }
    }

    /// Makes the replacement: the same configuration, images as they were pinned, secrets as they were handed over.
    async fn make(&self, machine: &Machine) -> Result<(), StepError> {
        let cloud = self.cloud;
        let app = cloud.store.app(machine.app_name.clone()).await?;
        let secrets = cloud.store.secrets_version_of(machine.instance_id).await?;
        let order = Order {
            app,
            config: Some((pinned(machine)?, machine.config.clone())),
            name: None,
            region: Some(machine.region.clone()),
            volumes: VolumeChoice::Free,
            skip_launch: !self.moving.launches,
            cordoned: machine.cordoned,
            secrets: SecretsWish {
                at: Some(secrets),
                ..SecretsWish::default()
            },
            lease_ttl: None,
            owner: "hosts drain".to_owned(),
            idempotency: None,
            rights: Rights::Ordinary,
            allowance: Allowance::unlimited(),
            id: Some(self.moving.replacement_id),
            by: cloud.by_platform(),
        };
        match Box::pin(order.carry_out(cloud.clone())).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_final() => self.fail(error.text().to_owned()).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the machine finish what it has begun, then ends it. What is done already is not done again.
    async fn retire(&self, machine: &Machine) -> Result<(), StepError> {
        let cloud = self.cloud;
        if cloud.wind_down(machine, self.moving.stage_since).await? {
            self.hand_standbys_over(machine.id).await?;
            let by = cloud.by_platform();
            cloud.destroy_machine(machine, true, &by).await?;
        }
        Ok(())
    }

    /// Machines that stand in for `gone` stand in for its replacement from now on.
    async fn hand_standbys_over(&self, gone: MachineId) -> Result<(), StepError> {
        let cloud = self.cloud;
        for standby in cloud.store.standbys().await? {
            if !standby.spec.standbys.contains(&gone) {
                continue;
            }
            let heir = self.moving.replacement_id;
            let renamed = |config: Value| renamed(config, gone, heir);
            let letter = renamed(read(&standby)?);
            let value = renamed(pinned(&standby)?);
            let secrets = cloud.store.secrets_version_of(standby.instance_id).await?;
            Change {
                app: cloud.store.app(standby.app_name.clone()).await?,
                expected: Some(standby.instance_id),
                machine: standby,
                config: Some((value, to_raw_value(&letter).expect("a value is JSON"))),
                secrets: SecretsWish {
                    at: Some(secrets),
                    ..SecretsWish::default()
                },
                nonce: None,
                skip_launch: true,
                rights: Rights::Ordinary,
                allowance: Allowance::unlimited(),
                by: cloud.by_platform(),
            }
            .carry_out(cloud.clone())
            .await?;
        }
        Ok(())
    }

    /// Takes the replacement back; the machine is judged anew, if its host is still emptied.
    async fn give_up(&self, replacement: Option<Machine>) -> Result<(), StepError> {
        self.destroy(replacement).await?;
        let store = &self.cloud.store;
        store.forget_host_move(self.moving.machine_id).await?;
        Ok(())
    }

    async fn destroy(&self, replacement: Option<Machine>) -> Result<(), StepError> {
        let living = replacement.filter(|machine| machine.destroyed_at.is_none());
        if let Some(machine) = living {
            let by = self.cloud.by_platform();
            self.cloud.destroy_machine(&machine, true, &by).await?;
        }
        Ok(())
    }

    async fn fail(&self, reason: String) -> Result<(), StepError> {
        warn!(machine_id = %self.moving.machine_id, reason, "a machine could not move");
        self.enter(MoveStage::Failed, Some(reason)).await
    }

    async fn enter(&self, stage: MoveStage, problem: Option<String>) -> Result<(), StepError> {
        let (moving, by) = (self.moving.clone(), self.cloud.by_platform());
        let store = &self.cloud.store;
        store
            .set_host_move_stage(moving, stage, problem, by)
            .await?;
        Ok(())
    }

    async fn find(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        match self.cloud.store.machine(id).await {
            Ok(machine) => Ok(Some(machine)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn host_is_gone(&self) -> Result<bool, StoreError> {
        let host = self.cloud.store.host(self.moving.host_id).await?;
        Ok(host.removed_at.is_some())
    }
}

/// Whether the replacement is still what the machine is.
fn is_alike(machine: &Machine, replacement: &Machine) -> bool {
    machine.image == replacement.image && machine.config.get() == replacement.config.get()
}

fn read(machine: &Machine) -> Result<Value, StepError> {
    serde_json::from_str(machine.config.get()).map_err(|source| StepError::Config {
        machine_id: machine.id,
        source,
    })
}

/// A machine's configuration with the images it runs, whatever their names stand for today.
fn pinned(machine: &Machine) -> Result<Value, StepError> {
    let mut config = read(machine)?;
    let spec = &machine.spec;
    if spec.containers.is_empty() {
        config["image"] = spec.image.to_string().into();
    }
    for (index, container) in spec.containers.iter().enumerate() {
        if let Some(written) = config["containers"].get_mut(index) {
            written["image"] = container.image.to_string().into();
        }
    }
    Ok(config)
}

/// A standby's configuration that names another machine in place of one.
fn renamed(mut config: Value, from: MachineId, to: MachineId) -> Value {
    if let Some(standbys) = config["standbys"].as_array_mut() {
        for id in standbys.iter_mut().filter(|id| **id == from.as_str()) {
            *id = to.as_str().into();
        }
    }
    if let Some(named) = config["env"].get_mut("FLY_STANDBY_FOR")
        && *named == from.as_str()
    {
        *named = to.as_str().into();
    }
    config
}
