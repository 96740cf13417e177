use mayfly_db::{DbError, Reader, Row, Tx, args};
use mayfly_types::{HostId, HostSeq, Region, Timestamp};
use serde_json::json;

use crate::event::{Subject, append};
use crate::{By, ControlStore, StoreError, host_drain, volume};

/// One enrolled host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    pub region: Region,
    pub registered_at: Timestamp,
    /// When it last answered, as told by [`ControlStore::host_seen`].
    pub seen_at: Timestamp,
    /// Up to where its reports are contained in this store.
    pub applied_seq: HostSeq,
    /// The joined server it is on; `None` is the server of the control plane.
    pub server_id: Option<HostId>,
    pub size: HostSize,
    pub reach: Reach,
    /// Nothing new is placed on it since then.
    pub cordoned_at: Option<Timestamp>,
    /// It is no host of this fleet any more.
    pub removed_at: Option<Timestamp>,
}

/// What a host offers to all its machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSize {
    pub memory_mib: u64,
    pub cpus: u32,
}

/// Whether a host answers, and since when that is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub reachable: bool,
    pub since: Timestamp,
}

const BY_ID: &str = "
    SELECT host.*, fleet_host.server_id, fleet_host.memory_mib, fleet_host.cpus, fleet_host.reachable,
           fleet_host.reach_since, fleet_host.cordoned_at, fleet_host.removed_at
      FROM host LEFT JOIN fleet_host ON fleet_host.host_id = host.id
     WHERE host.id = $1";

/// Removed ones are kept for the machines that were on them.
const ALL: &str = "
    SELECT host.*, fleet_host.server_id, fleet_host.memory_mib, fleet_host.cpus, fleet_host.reachable,
           fleet_host.reach_since, fleet_host.cordoned_at, fleet_host.removed_at
      FROM host LEFT JOIN fleet_host ON fleet_host.host_id = host.id
     WHERE fleet_host.removed_at IS NULL
     ORDER BY host.registered_at, host.id";

const PUT: &str = "
    INSERT INTO host (id, region, registered_at, seen_at, applied_seq) VALUES ($1, $2, $3, $3, 0)
    ON CONFLICT (id) DO UPDATE SET region = excluded.region, seen_at = excluded.seen_at";

const PUT_FLEET: &str = "
    INSERT INTO fleet_host (host_id, server_id, memory_mib, cpus, reachable, reach_since)
    VALUES ($1, $2, $3, $4, 1, $5)
    ON CONFLICT (host_id) DO UPDATE SET memory_mib = excluded.memory_mib, cpus = excluded.cpus";

const SEEN: &str = "UPDATE host SET seen_at = $2 WHERE id = $1 AND seen_at < $2";

const REACH: &str = "UPDATE fleet_host SET reachable = $2, reach_since = $3 WHERE host_id = $1";

const CORDON: &str = "UPDATE fleet_host SET cordoned_at = $2 WHERE host_id = $1";

const REMOVE: &str = "UPDATE fleet_host SET removed_at = $2 WHERE host_id = $1";

impl ControlStore {
    /// Enrols a host of the control plane's own server, or moves a known one to another region. Its reports continue
    /// where they were.
    pub async fn register_host(
        &self,
        id: HostId,
        region: Region,
        size: HostSize,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| enrol(tx, id, &region, None, size, &by))
            .await
    }

    /// Notes that a host answered. Not an event: it says nothing new.
    pub async fn host_seen(&self, id: HostId, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| Ok(tx.execute(SEEN, args![id.as_str(), at]).map(drop)?))
            .await
    }

    /// Notes whether a host answers; an event if that is new.
    pub async fn set_host_reach(&self, id: HostId, reach: Reach) -> Result<(), StoreError> {
        self.write(move |tx| {
            let host = required(tx, id)?;
            if host.reach.reachable == reach.reachable {
                return Ok(());
            }
            let flag = i64::from(reach.reachable);
            tx.execute(REACH, args![id.as_str(), flag, reach.since])?;
            let kind = if reach.reachable {
                "host.reachable"
            } else {
                "host.unreachable"
            };
            let by = By::platform(reach.since);
            note(tx, &by, kind, &host)
        })
        .await
    }

    /// Forbids or allows new machines on a host.
    pub async fn set_host_cordon(
        &self,
        id: HostId,
        cordoned: bool,
        by: By,
    ) -> Result<Host, StoreError> {
        self.write(move |tx| set_cordon(tx, id, cordoned, &by))
            .await
    }

    /// Takes a host out of the fleet for good; its machines were given up before, and its volumes are lost.
    ///
    /// # Errors
    /// `NotEmpty` while machines live on it.
    pub async fn remove_host(&self, id: HostId, by: By) -> Result<(), StoreError> {
        const LIVING: &str = "
            SELECT COUNT(*) AS living FROM machine WHERE host_id = $1 AND destroyed_at IS NULL";
        self.write(move |tx| {
            let host = required(tx, id)?;
            if host.removed_at.is_some() {
                return Ok(());
            }
            let row = tx.row(LIVING, args![id.as_str()])?;
            let machines: i64 = row
                .expect("an aggregate without groups is one row")
                .get("living")?;
            if machines > 0 {
                return Err(StoreError::HostNotEmpty { host: id, machines });
            }
            tx.execute(REMOVE, args![id.as_str(), by.at])?;
            host_drain::forget_host(tx, id)?;
            volume::forget_host(tx, id, &by)?;
            note(tx, &by, "host.remove", &host)
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn host(&self, id: HostId) -> Result<Host, StoreError> {
        self.read(move |reader| by_id(reader, id)?.ok_or_else(|| StoreError::not_found("host", id)))
            .await
    }

    /// Every host of the fleet, oldest first.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        self.read(|reader| {
            let hosts: Result<Vec<Host>, DbError> =
                reader.rows(ALL, &[])?.iter().map(from_row).collect();
            Ok(hosts?)
        })
        .await
    }
}

/// Puts a host in, or takes over what is new of a known one.
pub(crate) fn enrol(
    tx: &mut Tx<'_>,
    id: HostId,
    region: &Region,
    server: Option<HostId>,
    size: HostSize,
    by: &By,
) -> Result<(), StoreError> {
    let before = by_id(tx, id)?;
    tx.execute(PUT, args![id.as_str(), region.as_str(), by.at])?;
    tx.execute(
        PUT_FLEET,
        args![
            id.as_str(),
            server.as_ref().map(HostId::as_str),
            i64::try_from(size.memory_mib).unwrap_or(i64::MAX),
            i64::from(size.cpus),
            by.at,
        ],
    )?;
    let before = match before {
        Some(host) if host.region == *region => return Ok(()),
        Some(host) => Some(json!({ "id": id, "region": host.region })),
        None => None,
    };
    let after = json!({ "id": id, "region": region, "server": server });
    append(
        tx,
        by,
        "host.register",
        &Subject::default(),
        before.as_ref(),
        Some(&after),
    )
}

pub(crate) fn set_cordon(
    tx: &mut Tx<'_>,
    id: HostId,
    cordoned: bool,
    by: &By,
) -> Result<Host, StoreError> {
    let host = required(tx, id)?;
    if host.cordoned_at.is_some() == cordoned {
        return Ok(host);
    }
    let at = cordoned.then_some(by.at);
    tx.execute(CORDON, args![id.as_str(), at])?;
    let kind = if cordoned {
        "host.cordon"
    } else {
        "host.uncordon"
    };
    note(tx, by, kind, &host)?;
    Ok(Host {
        cordoned_at: at,
        ..host
    })
}

fn required(tx: &mut Tx<'_>, id: HostId) -> Result<Host, StoreError> {
    by_id(tx, id)?.ok_or_else(|| StoreError::not_found("host", id))
}

pub(crate) fn note(
    tx: &mut Tx<'_>,
    by: &By,
    kind: &'static str,
    host: &Host,
) -> Result<(), StoreError> {
    let about = json!({ "id": host.id, "region": host.region });
    append(
        tx,
        by,
        kind,
        &Subject::default(),
        crate::event::NOTHING,
        Some(&about),
    )
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: HostId) -> Result<Option<Host>, DbError> {
    reader
        .row(BY_ID, args![id.as_str()])?
        .as_ref()
        .map(from_row)
        .transpose()
}

fn from_row(row: &Row) -> Result<Host, DbError> {
    let registered_at = row.get("registered_at")?;
    // A store from before there were fleets says nothing until the host is enrolled anew.
    let number = |column| row.get::<Option<i64>>(column);
    let size = HostSize {
        memory_mib: number("memory_mib")?.map_or(0, |mib| u64::try_from(mib).unwrap_or(0)),
        cpus: number("cpus")?.map_or(0, |cpus| u32::try_from(cpus).unwrap_or(0)),
    };
    Ok(Host {
        id: row.parse("id")?,
        region: row.parse("region")?,
        registered_at,
        seen_at: row.get("seen_at")?,
        applied_seq: HostSeq(row.get("applied_seq")?),
        server_id: row.parse_opt("server_id")?,
        size,
        reach: Reach {
            reachable: number("reachable")? != Some(0),
            since: row
                .get::<Option<Timestamp>>("reach_since")?
                .unwrap_or(registered_at),
        },
        cordoned_at: row.get("cordoned_at")?,
        removed_at: row.get("removed_at")?,
    })
}
