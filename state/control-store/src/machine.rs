use std::collections::BTreeMap;

use mayfly_db::{DbError, Reader, Row, args};
use mayfly_host_api::ContainerReport;
use mayfly_machine::{MachineSpec, MachineState};
use mayfly_types::{
    AppId, AppName, HostId, HostSeq, ImageRef, InstanceId, MachineId, MachineName, OrgId, Region,
    Timestamp,
};
use serde_json::value::RawValue;

use crate::StoreError;
use crate::event::Subject;

mod change;
mod create;
mod lease;
mod list;
mod memory;
mod metadata;
mod version;

pub use create::{Created, NewMachine};
pub use lease::{Lease, NewLease};
pub use list::MachineFilter;
pub use metadata::MetadataChange;
pub use version::{MachineVersion, NewVersion};

/// A machine: what its users want of it, and what its host last said.
#[derive(Clone, Debug)]
pub struct Machine {
    pub id: MachineId,
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    pub name: MachineName,
    pub region: Region,
    pub host_id: HostId,
    /// Why it lives on that host.
    pub placement_reason: String,
    /// The wanted version.
    pub instance_id: InstanceId,
    /// Pinned to a digest.
    pub image: ImageRef,
    pub image_labels: BTreeMap<String, String>,
    /// Exactly as the user wrote it, but for metadata set since.
    pub config: Box<RawValue>,
    pub spec: MachineSpec,
    /// Grows with every change of intent.
    pub generation: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub destroyed_at: Option<Timestamp>,
    /// The newest lease; see [`Machine::lease_at`] for whether it holds.
    pub lease: Option<Lease>,
    /// What the host last reported; `created` before it has said anything.
    pub state: MachineState,
    pub state_since: Timestamp,
    /// Position of that report; 0 before the first.
    pub host_seq: HostSeq,
    /// The version the host has; `None` before its first report.
    pub observed_instance_id: Option<InstanceId>,
    pub cordoned: bool,
    /// Empty before the first report.
    pub private_ip: String,
    pub failure: Option<String>,
    pub containers: Vec<ContainerReport>,
}

impl Machine {
    /// The lease that holds at `now`.
    pub fn lease_at(&self, now: Timestamp) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.expires_at > now)
    }

    /// Whether a caller with this nonce, or without one, may change the machine.
    ///
    /// # Errors
    /// `Leased` while somebody else holds the lease.
    pub fn check_lease(&self, nonce: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        match self.lease_at(now) {
            Some(lease) if nonce != Some(lease.nonce.as_str()) => Err(StoreError::Leased {
                owner: lease.owner.clone(),
                until: lease.expires_at,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the host has the wanted version.
    pub fn is_delivered(&self) -> bool {
        self.observed_instance_id == Some(self.instance_id)
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            machine: Some(self.id),
            ..Subject::app(self.org_id, self.app_id, &self.app_name)
        }
    }
}

pub(crate) const SELECT: &str = "
    SELECT machine.*, app.name AS app_name FROM machine JOIN app ON app.id = machine.app_id";

pub(crate) fn find(reader: &mut Reader<'_>, id: MachineId) -> Result<Option<Machine>, StoreError> {
    let sql = format!("{SELECT} WHERE machine.id = $1");
    reader
        .row(&sql, args![id.as_str()])?
        .as_ref()
        .map(from_row)
        .transpose()
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: MachineId) -> Result<Machine, StoreError> {
    find(reader, id)?.ok_or_else(|| StoreError::not_found("machine", id))
}

/// A machine that can still be changed.
pub(crate) fn living(reader: &mut Reader<'_>, id: MachineId) -> Result<Machine, StoreError> {
    let machine = by_id(reader, id)?;
    match machine.destroyed_at {
        Some(_) => Err(StoreError::Destroyed(id)),
        None => Ok(machine),
    }
}

pub(crate) fn from_row(row: &Row) -> Result<Machine, StoreError> {
    Ok(Machine {
        id: row.parse("id")?,
        app_id: row.parse("app_id")?,
        app_name: row.parse("app_name")?,
        org_id: row.parse("org_id")?,
        name: row.parse("name")?,
        region: row.parse("region")?,
        host_id: row.parse("host_id")?,
        placement_reason: row.get("placement_reason")?,
        instance_id: row.parse("instance_id")?,
        image: row.parse("image")?,
        image_labels: json(row, "image_labels")?,
        config: raw(row, "config")?,
        spec: json(row, "spec")?,
        generation: row.get("generation")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        destroyed_at: row.get("destroyed_at")?,
        lease: lease::from_row(row)?,
        state: state(row)?,
        state_since: row.get("state_since")?,
        host_seq: HostSeq(row.get("host_seq")?),
        observed_instance_id: row.parse_opt("observed_instance_id")?,
        cordoned: row.get("cordoned")?,
        private_ip: row.get("private_ip")?,
        failure: row.get("failure")?,
        containers: json(row, "containers")?,
    })
}

fn state(row: &Row) -> Result<MachineState, DbError> {
    let text: String = row.get("state")?;
    text.parse()
        .map_err(|()| DbError::column("state", format!("`{text}` is not a state")))
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T, DbError> {
    serde_json::from_str(&row.get::<String>(column)?)
        .map_err(|error| DbError::column(column, error.to_string()))
}

pub(crate) fn raw(row: &Row, column: &str) -> Result<Box<RawValue>, DbError> {
    RawValue::from_string(row.get(column)?)
        .map_err(|error| DbError::column(column, error.to_string()))
}
