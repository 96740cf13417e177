use mayfly_db::{Row, args};
use mayfly_types::{Digest, OrgId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError};

/// A right to enter devices of an organization, which programs hold instead of an account. Its text is known to its
/// holder only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardToken {
    pub org_id: OrgId,
    pub name: String,
    pub created_at: Timestamp,
}

const INSERT: &str = "
    INSERT INTO wireguard_token (digest, org_id, name, created_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

const OF_ORG: &str = "SELECT * FROM wireguard_token WHERE org_id = $1 ORDER BY name";

const BY_DIGEST: &str = "SELECT * FROM wireguard_token WHERE digest = $1";

const DELETE: &str = "DELETE FROM wireguard_token WHERE org_id = $1 AND name = $2";

impl ControlStore {
    /// Records a token by the SHA-256 of its text.
    ///
    /// # Errors
    /// `Taken` for a name the organization has.
    pub async fn create_wireguard_token(
        &self,
        org: OrgId,
        name: &str,
        digest: Digest,
        by: By,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            let values = args![digest.to_string(), org.as_str(), name.as_str(), by.at];
            if tx.execute(INSERT, values)? == 0 {
                return Err(StoreError::taken("token", name));
            }
            let after = json!({ "name": name });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "wireguard_token.create",
                &subject,
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// The tokens of an organization, by name.
    pub async fn wireguard_tokens(&self, org: OrgId) -> Result<Vec<WireguardToken>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_ORG, args![org.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// The token with this SHA-256; `None` if there is none any more.
    pub async fn wireguard_token(
        &self,
        digest: Digest,
    ) -> Result<Option<WireguardToken>, StoreError> {
        self.read(move |reader| {
            let row = reader.row(BY_DIGEST, args![digest.to_string()])?;
            row.as_ref().map(from_row).transpose()
        })
        .await
    }

    /// Makes a token useless; devices it entered stay.
    ///
    /// # Errors
    /// `NotFound` if the organization has no token of this name.
    pub async fn delete_wireguard_token(
        &self,
        org: OrgId,
        name: &str,
        by: By,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            if tx.execute(DELETE, args![org.as_str(), name.as_str()])? == 0 {
                return Err(StoreError::not_found("token", name));
            }
            let before = json!({ "name": name });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "wireguard_token.delete",
                &subject,
                Some(&before),
                NOTHING,
            )
        })
        .await
    }
}

fn from_row(row: &Row) -> Result<WireguardToken, StoreError> {
    Ok(WireguardToken {
        org_id: row.parse("org_id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
    })
}
