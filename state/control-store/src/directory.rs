use std::collections::BTreeMap;

use mayfly_db::{Reader, Row, Value, args};
use mayfly_edge_api::{DirectoryApp, ReplaySource};
use mayfly_types::{AppId, NetworkId, OrgId};

use crate::{ControlStore, StoreError, address, network_policy, replay_source};

/// Apps asked for in one statement; SQLite and PostgreSQL both take far more placeholders.
const BATCH: usize = 500;

const APPS: &str = "
    SELECT id, name, org_id, network_id,
           (SELECT COUNT(*) FROM autoscale_rule WHERE autoscale_rule.app_id = app.id) AS autoscale_rules
      FROM app WHERE deleted_at IS NULL";

const IDS_OF_ORG: &str = "SELECT id FROM app WHERE org_id = $1 AND deleted_at IS NULL";

/// Names that lead to an app: those it has, not those it only asks for.
const HOSTNAMES: &str = "SELECT app_id, name FROM hostname WHERE holder = 1";

impl ControlStore {
    /// Every living app as edges find it, by id.
    pub async fn directory_apps(&self) -> Result<BTreeMap<AppId, DirectoryApp>, StoreError> {
        self.read(|reader| apps(reader, None)).await
    }

    /// Those of `ids` that live; what is missing in the answer is gone.
    pub async fn directory_apps_among(
        &self,
        ids: Vec<AppId>,
    ) -> Result<BTreeMap<AppId, DirectoryApp>, StoreError> {
        self.read(move |reader| {
            let mut found = BTreeMap::new();
            for some in ids.chunks(BATCH) {
                found.append(&mut apps(reader, Some(some))?);
            }
            Ok(found)
        })
        .await
    }

    /// The living apps of an organization.
    pub async fn app_ids_of(&self, org: OrgId) -> Result<Vec<AppId>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(IDS_OF_ORG, args![org.as_str()])?;
            rows.iter().map(|row| Ok(row.parse("id")?)).collect()
        })
        .await
    }
}

fn apps(
    reader: &mut Reader<'_>,
    only: Option<&[AppId]>,
) -> Result<BTreeMap<AppId, DirectoryApp>, StoreError> {
    let (condition, values) = match only {
        None => (String::new(), Vec::new()),
        Some(ids) => {
            let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
            let values = ids.iter().map(|id| Value::from(id.as_str())).collect();
            (format!(" AND id IN ({})", places.join(", ")), values)
        }
    };
    let rows = reader.rows(&format!("{APPS}{condition}"), &values)?;
    let mut addresses = address::assigned(reader, only)?;
    let sources = replay_source::all(reader)?;
    let of_apps = condition.replacen(" AND id IN", " WHERE app_id IN", 1);
    let mut policies = network_policy::by_app(reader, &of_apps, &values)?;
    let apps = rows.iter().map(from_row);
    let mut apps: BTreeMap<AppId, DirectoryApp> = apps
        .map(|app| {
            let mut app = app?;
            (app.addresses, app.egress) = addresses.remove(&app.app_id).unwrap_or_default();
            app.policies = policies.remove(&app.app_id).unwrap_or_default();
            let granted = sources.get(&app.org_id).into_iter().flatten();
            app.replay_sources = granted.copied().map(ReplaySource::Organization).collect();
            Ok((app.app_id, app))
        })
        .collect::<Result<_, StoreError>>()?;
    let condition = condition.replace(" id IN", " app_id IN");
    for row in &reader.rows(&format!("{HOSTNAMES}{condition} ORDER BY name"), &values)? {
        if let Some(app) = apps.get_mut(&row.parse("app_id")?) {
            app.hostnames.push(row.get("name")?);
        }
    }
    Ok(apps)
}

fn from_row(row: &Row) -> Result<DirectoryApp, StoreError> {
    Ok(DirectoryApp {
        app_id: row.parse("id")?,
        name: row.parse("name")?,
        org_id: row.parse("org_id")?,
        network: NetworkId(row.get("network_id")?),
        hostnames: Vec::new(),
        addresses: Vec::new(),
        replay_sources: Vec::new(),
        egress: Vec::new(),
        policies: Vec::new(),
        autoscaled: row.get::<i64>("autoscale_rules")? > 0,
    })
}
