use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use mayfly_control_store::{
    App, By, Created, IdempotencyKey, Machine, NewLease, NewMachine, StoreError,
};
use mayfly_host_api::{CreateMachine as HostCreate, HostError};
use mayfly_machine::{Actor, Launch, Rights};
use mayfly_types::{MachineId, MachineName, Region};
use mayfly_wire::CreateMachine;
use tracing::warn;

use super::lease::{fresh_nonce, lease_ttl};
use super::prepare::WrittenConfig;
use crate::access::{Allowance, AppAccess};
use crate::cloud::Cloud;
use crate::error::{ApiError, VOLUME_IN_USE};
use crate::given_name::given_name;
use crate::http::body::ConfigBody;
use crate::http::idempotency::idempotency_key;
use crate::secrets::SecretsWish;
use crate::volumes::{Mounted, VolumeChoice, WantedMount, Within};

/// How often a made-up name may turn out to be taken.
const NAMES_TRIED: usize = 8;

/// How often a free volume may turn out to be another machine's.
const VOLUMES_TRIED: usize = 16;

/// `POST …/machines`: makes a machine and, unless it shall not be launched, starts it.
///
/// The answer comes once the host has the machine in its journal: from then on it exists whatever happens.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    headers: HeaderMap,
    body: ConfigBody<CreateMachine>,
) -> Result<Json<mayfly_wire::Machine>, ApiError> {
    let order = Order::read(&cloud, &access, &headers, body)?;
    let operation = Box::pin(order.carry_out(cloud.clone()));
    let (machine, nonce) = cloud.finish(operation).await?;
    let mut shown = cloud.full_view(machine).await?;
    shown.nonce = nonce;
    Ok(Json(shown))
}

/// What was asked for, checked as far as that goes without asking others.
pub(crate) struct Order {
    pub(crate) app: App,
    pub(crate) config: Option<WrittenConfig>,
    pub(crate) name: Option<MachineName>,
    /// That of its volume unless named, or the default one.
    pub(crate) region: Option<Region>,
    /// Which volume it gets, if its configuration names one and not by id.
    pub(crate) volumes: VolumeChoice,
    pub(crate) skip_launch: bool,
    pub(crate) cordoned: bool,
    pub(crate) secrets: SecretsWish,
    pub(crate) lease_ttl: Option<Duration>,
    pub(crate) owner: String,
    pub(crate) idempotency: Option<IdempotencyKey>,
    pub(crate) rights: Rights,
    pub(crate) allowance: Allowance,
    /// The id it is to have, if somebody wrote that down already.
    pub(crate) id: Option<MachineId>,
    pub(crate) by: By,
}

impl Order {
    fn read(
        cloud: &Cloud,
        access: &AppAccess,
        headers: &HeaderMap,
        body: ConfigBody<CreateMachine>,
    ) -> Result<Self, ApiError> {
        let request = body.request;
        let config = request.config.clone().zip(body.config);
        let name = request.name.as_deref().filter(|name| !name.is_empty());
        let name = name
            .map(str::parse)
            .transpose()
            .map_err(|error| ApiError::invalid(format!("name: {error}")))?;
        let region = request.region.as_deref().filter(|code| !code.is_empty());
        let region = region
            .map(|code| cloud.regions().find(code))
            .transpose()
            .map_err(|text| ApiError::invalid(format!("region: {text}")))?;
        let caller = &access.caller;
        Ok(Order {
            app: access.app.clone(),
            name,
            region,
            volumes: VolumeChoice::Free,
            lease_ttl: lease_ttl(request.lease_ttl)?,
            owner: caller.name(),
            idempotency: idempotency_key(
                cloud,
                format!("{}:{}", access.caller.key(), access.app.id),
                headers,
                request.idempotency_key.as_deref(),
                body.digest,
            )?,
            skip_launch: request.skip_launch == Some(true),
            cordoned: request.skip_service_registration == Some(true),
            secrets: SecretsWish {
                skip: request.skip_secrets == Some(true),
                min_version: request.min_secrets_version,
                at: None,
            },
            rights: Rights::Ordinary,
            allowance: access.allowance(),
            id: None,
            by: caller.by(cloud),
            config,
        })
    }

    /// Finds or makes the machine's volume if it has one, records the machine, then asks the host for it.
    pub(crate) async fn carry_out(
        self,
        cloud: Arc<Cloud>,
    ) -> Result<(Machine, Option<String>), ApiError> {
        let wanted = self.config.as_ref().map(WantedMount::of).transpose()?;
        let Some((wanted, config)) = wanted.flatten().zip(self.config.clone()) else {
            return self.make(&cloud, None).await;
        };
        if let Some(key) = self.idempotency.clone()
            && let Some(made) = cloud.store.machine_made_by(key, cloud.now()).await?
        {
            return Ok(self.again(&cloud, made));
        }
        let mut tried = 0;
        loop {
            let within = Within {
                region: self.region.as_ref(),
                host: None,
            };
            let (choice, by) = (&self.volumes, &self.by);
            let mounted = cloud
                .mount(&self.app, &wanted, config.clone(), within, choice, by)
                .await?;
            let (is_new, is_chosen) = (mounted.is_new, mounted.is_chosen);
            let volume = mounted.volume.clone();
            let error = match self.make(&cloud, Some(mounted)).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            if is_new {
                // Unless a machine has it after all: then it stays.
                let dropped = cloud.drop_volume(&volume, by).await;
                dropped.unwrap_or_else(|error| {
                    warn!(volume_id = %volume.id, error = error.text(), "a new volume stays without a machine");
                });
            }
            tried += 1;
            // Another machine was faster; another volume may be free.
            if !(is_chosen && error.is_coded(VOLUME_IN_USE) && tried < VOLUMES_TRIED) {
                return Err(error);
            }
        }
    }

    async fn make(
        &self,
        cloud: &Arc<Cloud>,
        mounted: Option<Mounted>,
    ) -> Result<(Machine, Option<String>), ApiError> {
        let (config, region, (placed, reservation)) = match mounted {
            Some(mounted) => (
                Some(mounted.config),
                mounted.volume.region.clone(),
                (cloud.place_at(&mounted.volume).await?, None),
            ),
            None => {
                let region = self.region.clone();
                let region = region.unwrap_or_else(|| cloud.regions().default_region().clone());
                let place = cloud.place(&self.app, &region).await?;
                (self.config.clone(), region, place)
            }
        };
        let host = cloud
            .hosts
            .find(placed.host)
            .expect("placed on a host of this cloud");
        let prepared = cloud
            .prepare(&self.app, host.api.as_ref(), config, self.secrets)
            .await?;
        cloud.check_allowance(&self.allowance, &prepared, &region)?;
        let mut version = prepared.version;
        version.spec.rights = self.rights;
        let launch = match self.skip_launch {
            true => Launch::Skip,
            false if !version.spec.standbys.is_empty() => Launch::Skip,
            false => Launch::Now,
        };
        let cordoned = self.cordoned;
        let lease = self.lease_ttl.map(|ttl| NewLease {
            nonce: fresh_nonce(cloud),
            owner: self.owner.clone(),
            description: None,
            expires_at: cloud.now() + ttl,
        });
        let new = NewMachine {
            id: self
                .id
                .unwrap_or_else(|| MachineId::from_random(cloud.entropy.bytes())),
            app_id: self.app.id,
            name: self.name.clone().unwrap_or_else(|| made_up_name(cloud)),
            region,
            host_id: placed.host,
            placement_reason: placed.reason,
            version,
            cordoned,
            lease,
            idempotency: self.idempotency.clone(),
        };
        let machine = match self.record(cloud, new).await? {
            Created::New(machine) => {
                drop(reservation);
                machine
            }
            Created::Again(machine) => return Ok(self.again(cloud, machine)),
        };
        let nonce = machine.lease.as_ref().map(|lease| lease.nonce.clone());
        let asked = cloud
            .host_of(&machine)?
            .create(HostCreate {
                machine_id: machine.id,
                instance_id: machine.instance_id,
                name: machine.name.to_string(),
                app_id: self.app.id,
                app_name: self.app.name.clone(),
                org_id: self.app.org_id,
                org_slug: self.app.org_slug.clone(),
                network: self.app.network_id,
                region: machine.region.clone(),
                spec: machine.spec.clone(),
                secrets: prepared.secrets,
                launch,
                cordoned,
                by: Actor::User,
            })
            .await;
        match asked {
            Ok(report) => Ok((cloud.read_back(machine.id, &report).await?, nonce)),
            Err(error) => {
                undo(cloud, &machine, &error, &self.by).await;
                Err(error.into())
            }
        }
    }

    /// The answer to a request that made its machine before.
    fn again(&self, cloud: &Cloud, machine: Machine) -> (Machine, Option<String>) {
        let lease = machine.lease_at(cloud.now());
        let nonce = self.lease_ttl.and(lease).map(|lease| lease.nonce.clone());
        (machine, nonce)
    }

    /// Tries another name if one that we made up is taken.
    async fn record(&self, cloud: &Cloud, mut new: NewMachine) -> Result<Created, ApiError> {
        for _ in 0..NAMES_TRIED {
            match cloud
                .store
                .create_machine(new.clone(), self.by.clone())
                .await
            {
                Err(StoreError::Taken { .. }) if self.name.is_none() => {
                    new.name = made_up_name(cloud);
                }
                Err(StoreError::Taken { .. }) => {
                    return Err(ApiError::invalid(format!(
                        "name: a machine of app {} is called \"{}\" already",
                        self.app.name, new.name
                    ))
                    .coded("name_taken"));
                }
                recorded => return Ok(recorded?),
            }
        }
        Err(ApiError::conflict(
            "no free machine name was found; give the machine a name",
        ))
    }
}

fn made_up_name(cloud: &Cloud) -> MachineName {
    given_name(cloud.entropy.as_ref())
        .parse()
        .expect("given names follow the rule of machine names")
}

/// Takes back a record whose machine the host does not have. When that is not certain, it is settled later.
async fn undo(cloud: &Cloud, machine: &Machine, error: &HostError, by: &By) {
    if !matches!(error, HostError::Refused(_)) {
        cloud.doubts.add(machine.id);
        return;
    }
    let reason = mayfly_runtime::report(error);
    let abandoned = cloud
        .store
        .abandon_machine(machine.id, reason, by.clone())
        .await;
    if abandoned.is_err() {
        cloud.doubts.add(machine.id);
    }
}
