use mayfly_db::{DbError, Reader, Row, Tx, args};
use mayfly_types::{NetworkId, OrgId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::store::next_number;
use crate::{By, ControlStore, StoreError};

/// A private IPv6 world of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub id: NetworkId,
    pub org_id: OrgId,
    /// `default` unless an app asked for a network of its own.
    pub name: String,
    pub created_at: Timestamp,
}

/// The name of the network that apps share unless told otherwise.
pub(crate) const DEFAULT: &str = "default";

const BY_NAME: &str = "SELECT * FROM network WHERE org_id = $1 AND name = $2";

const OF_ORG: &str = "SELECT * FROM network WHERE org_id = $1 ORDER BY id";

const INSERT: &str = "INSERT INTO network (id, org_id, name, created_at) VALUES ($1, $2, $3, $4)";

impl ControlStore {
    /// The networks of an organization, oldest first.
    pub async fn networks(&self, org: OrgId) -> Result<Vec<Network>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_ORG, args![org.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }
}

/// # Errors
/// `NotFound`.
pub(crate) fn find(reader: &mut Reader<'_>, org: OrgId, name: &str) -> Result<Network, StoreError> {
    let row = reader.row(BY_NAME, args![org.as_str(), name])?;
    from_row(&row.ok_or_else(|| StoreError::not_found("network", name))?)
}

/// The network of this name, made now if it is new.
pub(crate) fn ensure(
    tx: &mut Tx<'_>,
    org: OrgId,
    name: &str,
    by: &By,
) -> Result<Network, StoreError> {
    if let Some(row) = tx.row(BY_NAME, args![org.as_str(), name])? {
        return from_row(&row);
    }
    let number = next_number(tx, "network")?;
    let id = u32::try_from(number)
        .map(NetworkId)
        .map_err(|_| DbError::column("network.id", format!("{number} is out of range")))?;
    tx.execute(INSERT, args![number, org.as_str(), name, by.at])?;
    let after = json!({ "id": id, "name": name });
    append(
        tx,
        by,
        "network.create",
        &Subject::org(org),
        NOTHING,
        Some(&after),
    )?;
    Ok(Network {
        id,
        org_id: org,
        name: name.to_owned(),
        created_at: by.at,
    })
}

fn from_row(row: &Row) -> Result<Network, StoreError> {
    Ok(Network {
        id: NetworkId(row.get("id")?),
        org_id: row.parse("org_id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
    })
}
