//! Volumes: what users want of them, where they are, and which machine has which.

use std::fmt;
use std::str::FromStr;

use mayfly_db::{Reader, Row, Value, args};
use mayfly_types::{AppId, AppName, HostId, MachineId, OrgId, Region, Timestamp, VolumeId};
use serde_json::json;

use crate::event::Subject;
use crate::organization::words;
use crate::{ControlStore, StoreError};

mod attachment;
mod change;
mod create;

pub(crate) use attachment::{MountOf, detach, remount};
pub use change::VolumeUpdate;
pub(crate) use change::{forget_app, forget_host};
pub use create::NewVolume;

words!(
    /// Where a volume is in its life: <https://fly.io/docs/volumes/volume-states/>.
    VolumeState {
        /// Its host has been asked for it, and has not answered yet.
        Creating = "creating",
        Created = "created",
        /// Its host has been asked to make it larger.
        Extending = "extending",
        /// Nobody can use it any more; its data is there until `destroy_at` at least.
        PendingDestroy = "pending_destroy",
        Destroyed = "destroyed",
    }
);

/// A volume of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub id: VolumeId,
    pub app_id: AppId,
    /// Empty once the app is forgotten.
    pub app_name: Option<AppName>,
    pub org_id: OrgId,
    pub name: String,
    pub region: Region,
    pub host_id: HostId,
    pub size_gb: u32,
    /// `ext4` or `raw`.
    pub fstype: String,
    pub state: VolumeState,
    /// The machine that has it, running or not.
    pub machine_id: Option<MachineId>,
    /// In days.
    pub snapshot_retention: i64,
    pub scheduled_snapshots: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub destroy_at: Option<Timestamp>,
    pub destroyed_at: Option<Timestamp>,
}

impl Volume {
    /// Whether a machine can be given it.
    pub fn is_free(&self) -> bool {
        self.is_usable() && self.machine_id.is_none()
    }

    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, VolumeState::Created | VolumeState::Extending)
    }

    fn subject(&self) -> Subject {
        Subject {
            org: Some(self.org_id),
            app: self.app_name.clone().map(|name| (self.app_id, name)),
            machine: self.machine_id,
        }
    }

    /// As events tell of it.
    fn shown(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "name": self.name,
            "region": self.region,
            "host": self.host_id,
            "size_gb": self.size_gb,
            "state": self.state.as_str(),
            "attached_machine_id": self.machine_id,
            "snapshot_retention": self.snapshot_retention,
            "auto_backup_enabled": self.scheduled_snapshots,
        })
    }
}

/// Which volumes to list; everything that is `None` or empty matches all. Destroyed ones are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFilter {
    pub app: Option<AppId>,
    pub org: Option<OrgId>,
    pub host: Option<HostId>,
    pub region: Option<Region>,
    /// Any of these.
    pub states: Vec<VolumeState>,
    pub updated_since: Option<Timestamp>,
    /// Continue behind this volume; the order is by id.
    pub after: Option<VolumeId>,
    pub limit: Option<u32>,
}

const SELECT: &str = "
    SELECT volume.*, app.name AS app_name FROM volume LEFT JOIN app ON app.id = volume.app_id";

const BY_ID: &str = "volume.id = $1";

impl ControlStore {
    /// A volume, also a destroyed one while it is remembered.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume(&self, id: VolumeId) -> Result<Volume, StoreError> {
        self.read(move |reader| by_id(reader, id)).await
    }

    /// Volumes by id.
    pub async fn volumes(&self, filter: VolumeFilter) -> Result<Vec<Volume>, StoreError> {
        self.read(move |reader| {
            let (condition, values) = condition(&filter);
            select(reader, &condition, &values)
        })
        .await
    }
}

fn by_id(reader: &mut Reader<'_>, id: VolumeId) -> Result<Volume, StoreError> {
    let found = select(reader, BY_ID, args![id.as_str()])?;
    let found = found.into_iter().next();
    found.ok_or_else(|| StoreError::not_found("volume", id))
}

fn select(
    reader: &mut Reader<'_>,
    condition: &str,
    values: &[Value],
) -> Result<Vec<Volume>, StoreError> {
    let sql = format!("{SELECT} WHERE {condition}");
    reader.rows(&sql, values)?.iter().map(from_row).collect()
}

fn condition(filter: &VolumeFilter) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = vec!["volume.destroyed_at IS NULL".to_owned()];
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let equal = [
        ("app_id", filter.app.as_ref().map(AppId::as_str)),
        ("org_id", filter.org.as_ref().map(OrgId::as_str)),
        ("host_id", filter.host.as_ref().map(HostId::as_str)),
        ("region", filter.region.as_ref().map(Region::as_str)),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            conditions.push(format!("volume.{column} = {}", place(value.into())));
        }
    }
    if !filter.states.is_empty() {
        let states: Vec<String> = filter
            .states
            .iter()
            .map(|state| place(state.as_str().into()))
            .collect();
        conditions.push(format!("volume.state IN ({})", states.join(", ")));
    }
    if let Some(since) = filter.updated_since {
        conditions.push(format!("volume.updated_at >= {}", place(since.into())));
    }
    if let Some(after) = &filter.after {
        conditions.push(format!("volume.id > {}", place(after.as_str().into())));
    }
    let mut sql = conditions.join(" AND ");
    sql.push_str(" ORDER BY volume.id");
    if let Some(limit) = filter.limit {
        sql.push_str(&format!(" LIMIT {}", place(limit.into())));
    }
    (sql, values)
}

fn from_row(row: &Row) -> Result<Volume, StoreError> {
    let size: i64 = row.get("size_gb")?;
    Ok(Volume {
        id: row.parse("id")?,
        app_id: row.parse("app_id")?,
        app_name: row.parse_opt("app_name")?,
        org_id: row.parse("org_id")?,
        name: row.get("name")?,
        region: row.parse("region")?,
        host_id: row.parse("host_id")?,
        size_gb: u32::try_from(size)
            .map_err(|error| mayfly_db::DbError::column("size_gb", error.to_string()))?,
        fstype: row.get("fstype")?,
        state: row.parse("state")?,
        machine_id: row.parse_opt("machine_id")?,
        snapshot_retention: row.get("snapshot_retention")?,
        scheduled_snapshots: row.get("scheduled_snapshots")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        destroy_at: row.get("destroy_at")?,
        destroyed_at: row.get("destroyed_at")?,
    })
}
