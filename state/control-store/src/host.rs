use mayfly_db::{DbError, Reader, Row, args};
use mayfly_types::{HostId, HostSeq, Region, Timestamp};
use serde_json::json;

use crate::event::{Subject, append};
use crate::{By, ControlStore, StoreError};

/// One enrolled server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    pub region: Region,
    pub registered_at: Timestamp,
    /// When it last answered, as told by [`ControlStore::host_seen`].
    pub seen_at: Timestamp,
    /// Up to where its reports are contained in this store.
    pub applied_seq: HostSeq,
}

const BY_ID: &str = "SELECT * FROM host WHERE id = $1";

const ALL: &str = "SELECT * FROM host ORDER BY registered_at, id";

const PUT: &str = "
    INSERT INTO host (id, region, registered_at, seen_at, applied_seq) VALUES ($1, $2, $3, $3, 0)
    ON CONFLICT (id) DO UPDATE SET region = excluded.region, seen_at = excluded.seen_at";

const SEEN: &str = "UPDATE host SET seen_at = $2 WHERE id = $1 AND seen_at < $2";

impl ControlStore {
    /// Enrols a host, or moves a known one to another region. Its reports continue where they were.
    pub async fn register_host(
        &self,
        id: HostId,
        region: Region,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let before = by_id(tx, id)?;
            tx.execute(PUT, args![id.as_str(), region.as_str(), by.at])?;
            let before = match before {
                Some(host) if host.region == region => return Ok(()),
                Some(host) => Some(json!({ "id": id, "region": host.region })),
                None => None,
            };
            let after = json!({ "id": id, "region": region });
            append(
                tx,
                &by,
                "host.register",
                &Subject::default(),
                before.as_ref(),
                Some(&after),
            )
        })
        .await
    }

    /// Notes that a host answered. Not an event: it says nothing new.
    pub async fn host_seen(&self, id: HostId, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| Ok(tx.execute(SEEN, args![id.as_str(), at]).map(drop)?))
            .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn host(&self, id: HostId) -> Result<Host, StoreError> {
        self.read(move |reader| by_id(reader, id)?.ok_or_else(|| StoreError::not_found("host", id)))
            .await
    }

    /// Every host, oldest first.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        self.read(|reader| {
            let hosts: Result<Vec<Host>, DbError> =
                reader.rows(ALL, &[])?.iter().map(from_row).collect();
            Ok(hosts?)
        })
        .await
    }
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: HostId) -> Result<Option<Host>, DbError> {
    reader
        .row(BY_ID, args![id.as_str()])?
        .as_ref()
        .map(from_row)
        .transpose()
}

fn from_row(row: &Row) -> Result<Host, DbError> {
    Ok(Host {
        id: row.parse("id")?,
        region: row.parse("region")?,
        registered_at: row.get("registered_at")?,
        seen_at: row.get("seen_at")?,
        applied_seq: HostSeq(row.get("applied_seq")?),
    })
}
