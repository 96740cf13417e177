//! Rules of users about what machines of an app may begin, and who may begin something with them.

use std::collections::BTreeMap;

use mayfly_db::{Reader, Row, Tx, Value, args};
use mayfly_edge_api::NetworkPolicy;
use mayfly_types::{AppId, Timestamp};
use serde_json::json;

use crate::app::by_id;
use crate::event::{NOTHING, Subject, append};
use crate::machine::json as json_column;
use crate::{By, ControlStore, StoreError};

/// A policy with its dates.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPolicy {
    pub policy: NetworkPolicy,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const OF_APP: &str = "SELECT * FROM network_policy WHERE app_id = $1 ORDER BY created_at, id";

const ONE: &str = "SELECT * FROM network_policy WHERE app_id = $1 AND id = $2";

const COUNT: &str = "SELECT COUNT(*) AS count FROM network_policy WHERE app_id = $1";

const PUT: &str = "
    INSERT INTO network_policy (id, app_id, policy, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (app_id, id) DO UPDATE SET policy = excluded.policy, updated_at = excluded.updated_at";

const DELETE: &str = "DELETE FROM network_policy WHERE app_id = $1 AND id = $2";

const DELETE_ALL: &str = "DELETE FROM network_policy WHERE app_id = $1";

impl ControlStore {
    /// The policies of an app, oldest first.
    pub async fn network_policies(&self, app: AppId) -> Result<Vec<StoredPolicy>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_APP, args![app.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn network_policy(&self, app: AppId, id: String) -> Result<StoredPolicy, StoreError> {
        self.read(move |reader| one(reader, app, &id)).await
    }

    /// Adds a policy, or replaces the one of the same id if it is `known`.
    ///
    /// # Errors
    /// `NotFound` for the app or a policy that should be known; `NotEmpty` if the app has `most` already.
    pub async fn put_network_policy(
        &self,
        app: AppId,
        policy: NetworkPolicy,
        known: bool,
        most: i64,
        by: By,
    ) -> Result<StoredPolicy, StoreError> {
        self.write(move |tx| {
            let found = by_id(tx, app)?;
            let before = if known {
                Some(json!(one(tx, app, &policy.id)?.policy))
            } else {
                let row = tx.row(COUNT, args![app.as_str()])?;
                let count: i64 = row.map_or(Ok(0), |row| row.get("count"))?;
                if count >= most {
                    return Err(StoreError::Full {
                        what: "network policies",
                        most,
                    });
                }
                None
            };
            let text = serde_json::to_string(&policy).expect("a policy is plain data");
            let id = policy.id.clone();
            tx.execute(PUT, args![id.as_str(), app.as_str(), text.as_str(), by.at])?;
            let kind = if known {
                "network_policy.update"
            } else {
                "network_policy.create"
            };
            let subject = Subject::app(found.org_id, found.id, &found.name);
            append(
                tx,
                &by,
                kind,
                &subject,
                before.as_ref(),
                Some(&json!(policy)),
            )?;
            one(tx, app, &id)
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn delete_network_policy(
        &self,
        app: AppId,
        id: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let found = by_id(tx, app)?;
            let before = one(tx, app, &id)?.policy;
            tx.execute(DELETE, args![app.as_str(), id.as_str()])?;
            let subject = Subject::app(found.org_id, found.id, &found.name);
            let kind = "network_policy.delete";
            append(tx, &by, kind, &subject, Some(&json!(before)), NOTHING)
        })
        .await
    }
}

/// Every policy of an app that is deleted.
pub(crate) fn delete_all(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    tx.execute(DELETE_ALL, args![app.as_str()])?;
    Ok(())
}

/// Policies by app, of all apps or of those that `condition` (on `app_id`) names.
pub(crate) fn by_app(
    reader: &mut Reader<'_>,
    condition: &str,
    values: &[Value],
) -> Result<BTreeMap<AppId, Vec<NetworkPolicy>>, StoreError> {
    let sql = format!("SELECT * FROM network_policy{condition} ORDER BY created_at, id");
    let mut found: BTreeMap<AppId, Vec<NetworkPolicy>> = BTreeMap::new();
    for row in &reader.rows(&sql, values)? {
        let app = row.parse("app_id")?;
        found.entry(app).or_default().push(from_row(row)?.policy);
    }
    Ok(found)
}

fn one(reader: &mut Reader<'_>, app: AppId, id: &str) -> Result<StoredPolicy, StoreError> {
    let row = reader.row(ONE, args![app.as_str(), id])?;
    from_row(&row.ok_or_else(|| StoreError::not_found("network policy", id))?)
}

fn from_row(row: &Row) -> Result<StoredPolicy, StoreError> {
    Ok(StoredPolicy {
        policy: json_column(row, "policy")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
