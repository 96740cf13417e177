use mayfly_db::{Reader, Value, args};
use mayfly_machine::MachineState;
use mayfly_types::{AppId, HostId, MachineId, MachineName, OrgId, Region, Timestamp};

use super::{Machine, SELECT, by_id, from_row};
use crate::{ControlStore, StoreError};

/// Which machines to list; everything that is `None` or empty matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFilter {
    pub app: Option<AppId>,
    pub org: Option<OrgId>,
    pub host: Option<HostId>,
    pub region: Option<Region>,
    /// Any of these.
    pub states: Vec<MachineState>,
    /// All of these, as key and value.
    pub metadata: Vec<(String, String)>,
    pub updated_since: Option<Timestamp>,
    pub include_deleted: bool,
    /// Continue behind this machine; the order is by id.
    pub after: Option<MachineId>,
    pub limit: Option<u32>,
}

const BY_NAME: &str = "machine.app_id = $1 AND machine.name = $2 AND machine.destroyed_at IS NULL";

/// Machines that stand in for others.
const STANDBYS: &str = "machine.standby = 1 AND machine.destroyed_at IS NULL ORDER BY machine.id";

/// Machines whose wanted version their host has not reported.
const UNDELIVERED: &str = "
    machine.destroyed_at IS NULL
    AND (machine.observed_instance_id IS NULL OR machine.observed_instance_id <> machine.instance_id)
    ORDER BY machine.id";

const COUNT: &str = "SELECT COUNT(*) AS n FROM machine WHERE destroyed_at IS NULL";

impl ControlStore {
    /// A machine by id, also a destroyed one while it is remembered.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn machine(&self, id: MachineId) -> Result<Machine, StoreError> {
        self.read(move |reader| by_id(reader, id)).await
    }

    /// A machine of an app by id, or a living one by name: names are accepted wherever ids are.
    ///
    /// # Errors
    /// `NotFound`, also for a machine of another app.
    pub async fn machine_in_app(
        &self,
        app: AppId,
        id_or_name: String,
    ) -> Result<Machine, StoreError> {
        self.read(move |reader| {
            if let Ok(id) = id_or_name.parse::<MachineId>() {
                match super::find(reader, id)? {
                    Some(machine) if machine.app_id == app => return Ok(machine),
                    _ => {}
                }
            }
            let missing = || StoreError::not_found("machine", &id_or_name);
            let name: MachineName = id_or_name.parse().map_err(|_| missing())?;
            let found = select(reader, BY_NAME, args![app.as_str(), name.as_str()])?;
            found.into_iter().next().ok_or_else(missing)
        })
        .await
    }

    /// Machines by id.
    pub async fn machines(&self, filter: MachineFilter) -> Result<Vec<Machine>, StoreError> {
        self.read(move |reader| {
            let (condition, values) = condition(&filter);
            select(reader, &condition, &values)
        })
        .await
    }

    /// The machines that stand in for others.
    pub async fn standbys(&self) -> Result<Vec<Machine>, StoreError> {
        self.read(|reader| select(reader, STANDBYS, &[])).await
    }

    /// The machines whose wanted version their host has not reported: asked for and not yet there, or lost when a
    /// process died between recording and asking.
    pub async fn undelivered_machines(&self) -> Result<Vec<Machine>, StoreError> {
        self.read(|reader| select(reader, UNDELIVERED, &[])).await
    }

    /// How many machines there are that are not destroyed.
    pub async fn count_machines(&self) -> Result<i64, StoreError> {
        self.read(|reader| {
            let row = reader.row(COUNT, &[])?;
            Ok(row.expect("a count is a row").get("n")?)
        })
        .await
    }
}

fn select(
    reader: &mut Reader<'_>,
    condition: &str,
    values: &[Value],
) -> Result<Vec<Machine>, StoreError> {
    let sql = format!("{SELECT} WHERE {condition}");
    reader.rows(&sql, values)?.iter().map(from_row).collect()
}

fn condition(filter: &MachineFilter) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    if let Some(app) = &filter.app {
        conditions.push(format!("machine.app_id = {}", place(app.as_str().into())));
    }
    if let Some(org) = &filter.org {
        conditions.push(format!("machine.org_id = {}", place(org.as_str().into())));
    }
    if let Some(host) = &filter.host {
        conditions.push(format!("machine.host_id = {}", place(host.as_str().into())));
    }
    if let Some(region) = &filter.region {
        conditions.push(format!(
            "machine.region = {}",
            place(region.as_str().into())
        ));
    }
    if !filter.states.is_empty() {
        let states: Vec<String> = filter
            .states
            .iter()
            .map(|state| place(state.as_str().into()))
            .collect();
        conditions.push(format!("machine.state IN ({})", states.join(", ")));
    }
    for (key, value) in &filter.metadata {
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM machine_metadata WHERE machine_metadata.machine_id = machine.id
                AND machine_metadata.key = {} AND machine_metadata.value = {})",
            place(key.into()),
            place(value.into()),
        ));
    }
    if let Some(since) = filter.updated_since {
        conditions.push(format!("machine.updated_at >= {}", place(since.into())));
    }
    if !filter.include_deleted {
        conditions.push("machine.destroyed_at IS NULL".to_owned());
    }
    if let Some(after) = &filter.after {
        conditions.push(format!("machine.id > {}", place(after.as_str().into())));
    }
    let limit = filter.limit.map(|limit| place(limit.into()));
    let mut sql = if conditions.is_empty() {
        "1 = 1".to_owned()
    } else {
        conditions.join(" AND ")
    };
    sql.push_str(" ORDER BY machine.id");
    if let Some(limit) = limit {
        sql.push_str(&format!(" LIMIT {limit}"));
    }
    (sql, values)
}
