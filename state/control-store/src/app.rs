use std::fmt;
use std::str::FromStr;

use mayfly_db::{Reader, Row, Value, args};
use mayfly_types::{AppId, AppName, NetworkId, OrgId, OrgSlug, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::organization::words;
use crate::store::next_number;
use crate::{
    By, ControlStore, IdempotencyKey, StoreError, address, app_expiry, app_secret, autoscale,
    budget, hostname, idempotency, network, network_policy, organization, release, token, volume,
};

/// A named set of machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    /// For clients that want a number.
    pub numeric_id: i64,
    pub name: AppName,
    pub org_id: OrgId,
    pub org_slug: OrgSlug,
    pub org_name: String,
    pub org_numeric_id: i64,
    pub network_id: NetworkId,
    pub network_name: String,
    pub status: AppStatus,
    /// The `app_role_id` it was created with; mostly empty.
    pub role: String,
    pub created_at: Timestamp,
    /// Machines that are not destroyed.
    pub machine_count: i64,
    /// Volumes that are not destroyed.
    pub volume_count: i64,
    /// When it goes by itself, if it does.
    pub expires_at: Option<Timestamp>,
}

/// An app to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApp {
    pub id: AppId,
    pub name: AppName,
    pub org_id: OrgId,
    /// `None` joins the organization's default network; a new name makes a new network.
    pub network: Option<String>,
    pub role: String,
    pub expires_at: Option<Timestamp>,
}

/// Which apps to list; everything that is `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFilter {
    /// Apps of these organizations only. An empty list matches nothing.
    pub orgs: Option<Vec<OrgId>>,
    pub role: Option<String>,
}

words!(
    /// How far an app has come.
    AppStatus {
        /// No machine was ever made.
        Pending = "pending",
        Deployed = "deployed",
        Suspended = "suspended",
    }
);

/// The role of an organization's builder, which is ours and not its users'.
pub const BUILDER: &str = "builder";

const INSERT: &str = "
    INSERT INTO app (id, numeric_id, name, org_id, network_id, status, role, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING";

const SELECT: &str = "
    SELECT app.*, network.name AS network_name, organization.slug AS org_slug,
           organization.name AS org_name, organization.numeric_id AS org_numeric_id,
           (SELECT COUNT(*) FROM machine
             WHERE machine.app_id = app.id AND machine.destroyed_at IS NULL) AS machine_count,
           (SELECT COUNT(*) FROM volume
             WHERE volume.app_id = app.id AND volume.destroy_at IS NULL AND volume.destroyed_at IS NULL) AS volume_count,
           app_expiry.expires_at AS expires_at
      FROM app
      JOIN network ON network.id = app.network_id
      JOIN organization ON organization.id = app.org_id
      LEFT JOIN app_expiry ON app_expiry.app_id = app.id
     WHERE app.deleted_at IS NULL";

const SET_STATUS: &str = "UPDATE app SET status = $2 WHERE id = $1 AND deleted_at IS NULL";

const DELETE: &str = "UPDATE app SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";

impl ControlStore {
    /// Makes an app.
    ///
    /// # Errors
    /// `Taken` if a living app has the name, in whatever organization; `NotFound` for the organization; `OverBudget`.
    pub async fn create_app(&self, new: NewApp, by: By) -> Result<App, StoreError> {
        self.create_app_once(new, None, by).await
    }

    /// Like [`ControlStore::create_app`]; a request that was made under the same key before gets the app it made then,
    /// as long as it is there.
    ///
    /// # Errors
    /// `KeyReused` if the key stands for another request.
    pub async fn create_app_once(
        &self,
        new: NewApp,
        key: Option<IdempotencyKey>,
        by: By,
    ) -> Result<App, StoreError> {
        self.write(move |tx| {
            if let Some(key) = &key
                && let Some(made) = idempotency::find::<AppId>(tx, key, by.at)?
            {
                match by_id(tx, made) {
                    Err(StoreError::NotFound { .. }) => {}
                    found => return found,
                }
            }
            let org = organization::by_id(tx, new.org_id)?;
            let budget = budget::for_app(tx, org.id, &new.role)?;
            let expires_at = new.expires_at.or_else(|| Some(by.at + budget.ttl?));
            let network_name = new.network.as_deref().unwrap_or(network::DEFAULT);
            let network = network::ensure(tx, org.id, network_name, &by)?;
            let numeric_id = next_number(tx, "app")?;
            let values = args![
                new.id.as_str(),
                numeric_id,
                new.name.as_str(),
                org.id.as_str(),
                i64::from(network.id.0),
                AppStatus::Pending.as_str(),
                new.role.as_str(),
                by.at,
            ];
            if tx.execute(INSERT, values)? == 0 {
                return Err(StoreError::taken("app", new.name));
            }
            app_expiry::set(tx, new.id, expires_at)?;
            let mut after = json!({
                "id": new.id,
                "name": new.name,
                "network": network.name,
                "role": new.role,
                "status": AppStatus::Pending.as_str(),
            });
            if let Some(at) = expires_at {
                after["expires_at"] = json!(at);
            }
            let subject = Subject::app(org.id, new.id, &new.name);
            append(tx, &by, "app.create", &subject, NOTHING, Some(&after))?;
            if let Some(key) = &key {
                idempotency::remember(tx, key, new.id.as_str())?;
            }
            by_id(tx, new.id)
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn app(&self, name: AppName) -> Result<App, StoreError> {
        self.read(move |reader| {
            let row = reader.row(&format!("{SELECT} AND app.name = $1"), args![name.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("app", name))?)
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn app_by_id(&self, id: AppId) -> Result<App, StoreError> {
        self.read(move |reader| by_id(reader, id)).await
    }

    /// Apps by name.
    pub async fn apps(&self, filter: AppFilter) -> Result<Vec<App>, StoreError> {
        self.read(move |reader| {
            let mut sql = SELECT.to_owned();
            let mut values: Vec<Value> = Vec::new();
            let mut place = |value: &str| {
                values.push(Value::from(value));
                format!("${}", values.len())
            };
            if let Some(orgs) = &filter.orgs {
                if orgs.is_empty() {
                    return Ok(Vec::new());
                }
                let places: Vec<String> = orgs.iter().map(|org| place(org.as_str())).collect();
                sql.push_str(&format!(" AND app.org_id IN ({})", places.join(", ")));
            }
            if let Some(role) = &filter.role {
                sql.push_str(&format!(" AND app.role = {}", place(role)));
            }
            sql.push_str(" ORDER BY app.name");
            reader.rows(&sql, &values)?.iter().map(from_row).collect()
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn set_app_status(
        &self,
        id: AppId,
        status: AppStatus,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = by_id(tx, id)?;
            if app.status == status {
                return Ok(());
            }
            tx.execute(SET_STATUS, args![id.as_str(), status.as_str()])?;
            append(
                tx,
                &by,
                "app.update",
                &Subject::app(app.org_id, id, &app.name),
                Some(&json!({ "status": app.status.as_str() })),
                Some(&json!({ "status": status.as_str() })),
            )
        })
        .await
    }

    /// Deletes an app without machines, with its volumes; its name is free at once.
    ///
    /// # Errors
    /// `NotFound`; `NotEmpty` while it has machines that are not destroyed.
    pub async fn delete_app(&self, id: AppId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = by_id(tx, id)?;
            if app.machine_count > 0 {
                return Err(StoreError::NotEmpty {
                    app: app.name.to_string(),
                    machines: app.machine_count,
                });
            }
            hostname::forget_app(tx, id)?;
            app_expiry::set(tx, id, None)?;
            app_secret::forget_app(tx, id)?;
            release::forget_app(tx, id)?;
            autoscale::forget_app(tx, id)?;
            token::revoke_of_app(tx, id, &by)?;
            volume::forget_app(tx, id, &by)?;
            tx.execute(DELETE, args![id.as_str(), by.at])?;
            address::release_all(tx, id)?;
            network_policy::delete_all(tx, id)?;
            let before = json!({ "id": id, "name": app.name, "status": app.status.as_str() });
            let subject = Subject::app(app.org_id, id, &app.name);
            append(tx, &by, "app.delete", &subject, Some(&before), NOTHING)
        })
        .await
    }
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: AppId) -> Result<App, StoreError> {
    let row = reader.row(&format!("{SELECT} AND app.id = $1"), args![id.as_str()])?;
    from_row(&row.ok_or_else(|| StoreError::not_found("app", id))?)
}

fn from_row(row: &Row) -> Result<App, StoreError> {
    Ok(App {
        id: row.parse("id")?,
        numeric_id: row.get("numeric_id")?,
        name: row.parse("name")?,
        org_id: row.parse("org_id")?,
        org_slug: row.parse("org_slug")?,
        org_name: row.get("org_name")?,
        org_numeric_id: row.get("org_numeric_id")?,
        network_id: NetworkId(row.get("network_id")?),
        network_name: row.get("network_name")?,
        status: row.parse("status")?,
        role: row.get("role")?,
        created_at: row.get("created_at")?,
        machine_count: row.get("machine_count")?,
        volume_count: row.get("volume_count")?,
        expires_at: row.get("expires_at")?,
    })
}
