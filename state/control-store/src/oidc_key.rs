//! Keys that sign what the machines of an organization say of themselves.

use mayfly_db::{Row, args};
use mayfly_types::{OrgId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError};

/// A key of an organization. Newer ones sign, older ones are still known for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcKey {
    /// What tokens name it by.
    pub id: String,
    pub org_id: OrgId,
    pub sealed_key: Vec<u8>,
    /// The public half, as the JSON text that is shown to everybody.
    pub public_key: String,
    pub created_at: Timestamp,
}

const SINCE: &str = "
    SELECT * FROM oidc_key WHERE org_id = $1 AND created_at > $2 ORDER BY created_at DESC, id";

const INSERT: &str = "
    INSERT INTO oidc_key (id, org_id, sealed_key, public_key, created_at) VALUES ($1, $2, $3, $4, $5)";

const FORGET: &str = "DELETE FROM oidc_key WHERE org_id = $1 AND created_at <= $2";

impl ControlStore {
    /// An organization's keys made after `since`, newest first.
    pub async fn oidc_keys(
        &self,
        org: OrgId,
        since: Timestamp,
    ) -> Result<Vec<OidcKey>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(SINCE, args![org.as_str(), since])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// Adds a key, and forgets those made at `forgotten` or before. `unless_since` refuses quietly if a newer key than
    /// that exists already: two requests at once make one key. The newest key comes back.
    pub async fn add_oidc_key(
        &self,
        key: OidcKey,
        unless_since: Option<Timestamp>,
        forgotten: Timestamp,
        by: By,
    ) -> Result<OidcKey, StoreError> {
        self.write(move |tx| {
            if let Some(since) = unless_since
                && let Some(row) = tx.row(SINCE, args![key.org_id.as_str(), since])?
            {
                return from_row(&row);
            }
            tx.execute(FORGET, args![key.org_id.as_str(), forgotten])?;
            let values = args![
                key.id.as_str(),
                key.org_id.as_str(),
                key.sealed_key.as_slice(),
                key.public_key.as_str(),
                key.created_at,
            ];
            tx.execute(INSERT, values)?;
            let after = json!({ "id": key.id });
            let subject = Subject::org(key.org_id);
            append(tx, &by, "oidc_key.create", &subject, NOTHING, Some(&after))?;
            Ok(key)
        })
        .await
    }
}

fn from_row(row: &Row) -> Result<OidcKey, StoreError> {
    Ok(OidcKey {
        id: row.get("id")?,
        org_id: row.parse("org_id")?,
        sealed_key: row.get("sealed_key")?,
        public_key: row.get("public_key")?,
        created_at: row.get("created_at")?,
    })
}
