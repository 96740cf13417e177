use mayfly_db::{Tx, args};
use mayfly_types::{AppId, HostId, MachineId, MachineName, Region, Timestamp};
use serde_json::json;

use super::{Machine, by_id, lease, metadata, version};
use crate::app::{self, AppStatus};
use crate::event::{NOTHING, Subject, append, to_json};
use crate::volume::{MountOf, remount};
use crate::{
    By, ControlStore, IdempotencyKey, NewLease, NewVersion, StoreError, budget, config, host,
    idempotency,
};

/// A machine to be made.
#[derive(Clone, Debug)]
pub struct NewMachine {
    pub id: MachineId,
    pub app_id: AppId,
    pub name: MachineName,
    pub region: Region,
    pub host_id: HostId,
    /// Why that host was chosen, for people.
    pub placement_reason: String,
    pub version: NewVersion,
    /// Kept out of traffic until it is uncordoned.
    pub cordoned: bool,
    /// A lease that its creator holds from the start.
    pub lease: Option<NewLease>,
    pub idempotency: Option<IdempotencyKey>,
}

/// What came of a request for a machine.
#[derive(Clone, Debug)]
pub enum Created {
    New(Machine),
    /// The same request made this machine before.
    Again(Machine),
}

const INSERT: &str = "
    INSERT INTO machine
        (id, app_id, org_id, name, region, host_id, placement_reason, standby, instance_id, image,
         image_labels, config, spec, generation, created_at, updated_at, state, state_since, host_seq,
         cordoned, private_ip, containers)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $14, 'created', $14, 0, $15, '', '[]')
    ON CONFLICT (app_id, name) WHERE destroyed_at IS NULL DO NOTHING";

const DEPLOYED: &str = "UPDATE app SET status = $2 WHERE id = $1";

impl ControlStore {
    /// Records a machine that its host shall be asked for next. The first machine makes its app `deployed`.
    ///
    /// # Errors
    /// `NotFound` for the app, the host or a volume; `Taken` if a living machine of the app has the name; `KeyReused`;
    /// `VolumeInUse`, `VolumeNotReady` and `VolumeElsewhere` for a volume that it cannot have; `OverBudget`.
    pub async fn create_machine(&self, new: NewMachine, by: By) -> Result<Created, StoreError> {
        self.write(move |tx| {
            if let Some(key) = &new.idempotency
                && let Some(made) = idempotency::find(tx, key, by.at)?
            {
                return Ok(Created::Again(by_id(tx, made)?));
            }
            insert(tx, new, &by).map(Created::New)
        })
        .await
    }
}

impl ControlStore {
    /// The machine that this request has made before.
    ///
    /// # Errors
    /// `KeyReused` if the key stands for another request.
    pub async fn machine_made_by(
        &self,
        key: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Machine>, StoreError> {
        self.write(move |tx| {
            let made = idempotency::find(tx, &key, now)?;
            made.map(|id| by_id(tx, id)).transpose()
        })
        .await
    }
}

fn insert(tx: &mut Tx<'_>, new: NewMachine, by: &By) -> Result<Machine, StoreError> {
    let app = app::by_id(tx, new.app_id)?;
    if host::by_id(tx, new.host_id)?.is_none() {
        return Err(StoreError::not_found("host", new.host_id));
    }
    budget::for_machine(tx, app.org_id, &app.role)?;
    let version = &new.version;
    let values = args![
        new.id.as_str(),
        app.id.as_str(),
        app.org_id.as_str(),
        new.name.as_str(),
        new.region.as_str(),
        new.host_id.as_str(),
        new.placement_reason.as_str(),
        !version.spec.standbys.is_empty(),
        version.instance_id.as_str(),
        version.image.to_string(),
        to_json(&version.image_labels),
        version.config.get(),
        to_json(&version.spec),
        by.at,
        new.cordoned,
    ];
    if tx.execute(INSERT, values)? == 0 {
        return Err(StoreError::taken("machine name", new.name));
    }
    version::insert(tx, new.id, version, by.at)?;
    metadata::replace(tx, new.id, &version.spec.metadata)?;
    let of = MountOf {
        machine: new.id,
        app: app.id,
        host: new.host_id,
    };
    remount(tx, &of, &version.spec.mounts, by)?;
    if let Some(key) = &new.idempotency {
        idempotency::remember(tx, key, new.id.as_str())?;
    }
    let subject = Subject {
        machine: Some(new.id),
        ..Subject::app(app.org_id, app.id, &app.name)
    };
    let after = json!({
        "id": new.id,
        "name": new.name,
        "region": new.region,
        "host": new.host_id,
        "placement": new.placement_reason,
        "instance_id": version.instance_id,
        "image": version.image,
        "config": config::summary(&version.config),
    });
    append(tx, by, "machine.create", &subject, NOTHING, Some(&after))?;
    if app.status == AppStatus::Pending {
        tx.execute(
            DEPLOYED,
            args![app.id.as_str(), AppStatus::Deployed.as_str()],
        )?;
        append(
            tx,
            by,
            "app.update",
            &Subject::app(app.org_id, app.id, &app.name),
            Some(&json!({ "status": AppStatus::Pending.as_str() })),
            Some(&json!({ "status": AppStatus::Deployed.as_str() })),
        )?;
    }
    if let Some(new_lease) = new.lease {
        lease::take(tx, new.id, new_lease, None, by)?;
    }
    by_id(tx, new.id)
}
