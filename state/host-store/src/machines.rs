use std::net::Ipv4Addr;

use mayfly_db::{Row, Tx, args};
use mayfly_host_api::HostEvent;
use mayfly_machine::{Machine, RunChange};
use mayfly_types::{HostSeq, MachineId, Timestamp};

use crate::address::{AddressPool, count, free_ipv4};
use crate::record::{MACHINE_VERSION, Records};
use crate::{HostStore, StoreError, events, runs};

/// A machine's next state, with what is reported of the way there. Sequence numbers are filled in by the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub at: Timestamp,
    pub next: Machine,
    pub reports: Vec<HostEvent>,
    pub runs: Vec<RunChange>,
}

const INSERT: &str = "
    INSERT INTO machine (id, generation, seq, number, ipv4, record_version, record)
    VALUES ($1, 1, $2, $3, $4, $5, $6)";

/// No row changes when the generation is not the expected one ($2). The IPv4 address goes back to the pool with the
/// machine's end ($5).
const UPDATE: &str = "
    UPDATE machine
       SET generation = generation + 1, seq = COALESCE($3, seq), record_version = $4, destroyed_at = $5,
           ipv4 = CASE WHEN $5 IS NULL THEN ipv4 ELSE NULL END, record = $6
     WHERE id = $1 AND generation = $2";

const ALL: &str = "SELECT id, generation, seq, record_version, record FROM machine ORDER BY id";
const ONE: &str = "SELECT id, generation, seq, record_version, record FROM machine WHERE id = $1";
const FORGET: &str = "DELETE FROM machine WHERE destroyed_at < $1 RETURNING id";

/// A machine as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub machine: Machine,
    /// Expected by the next [`HostStore::store`].
    pub generation: i64,
    /// The newest report about it.
    pub seq: HostSeq,
}

fn stored(records: &Records, row: &Row) -> Result<Stored, StoreError> {
    let id: MachineId = row.parse("id")?;
    let record: String = row.get("record")?;
    Ok(Stored {
        machine: records.decode_machine(id, row.get("record_version")?, &record)?,
        generation: row.get("generation")?,
        seq: HostSeq(row.get("seq")?),
    })
}

impl HostStore {
    /// Takes a machine on. `build` gets its number on this host (never used before) and an IPv4 address of `pool` that no other machine has, and
    /// makes the machine and its first reports. A machine that is there already is returned as it is.
    pub async fn insert<F>(
        &self,
        id: MachineId,
        pool: AddressPool,
        build: F,
    ) -> Result<Stored, StoreError>
    where
        F: FnOnce(u32, Ipv4Addr) -> Change + Send + 'static,
    {
        let records = self.records.clone();
        self.db
            .write(move |tx| {
                if let Some(row) = tx.row(ONE, args![id.as_str()])? {
                    return stored(&records, &row);
                }
                let number = count(tx, "machine")?;
                let (place, ipv4) = free_ipv4(tx, pool, id)?;
                let number_bits = u32::try_from(number).map_err(|_| StoreError::NoAddress(id))?;
                let change = build(number_bits, ipv4);
                let seq = write_history(tx, &change)?;
                let record = records.encode_machine(&change.next);
                tx.execute(
                    INSERT,
                    args![
                        id.as_str(),
                        seq.unwrap_or_default().0,
                        number,
                        place,
                        MACHINE_VERSION,
                        record
                    ],
                )?;
                Ok(Stored {
                    machine: change.next,
                    generation: 1,
                    seq: seq.unwrap_or_default(),
                })
            })
            .await
    }

    /// Stores a machine's next state and its reports. Returns the newest report's number, if there was one.
    pub async fn store(
        &self,
        generation: i64,
        change: Change,
    ) -> Result<Option<HostSeq>, StoreError> {
        let records = self.records.clone();
        self.db
            .write(move |tx| {
                let id = change.next.identity.machine_id;
                let seq = write_history(tx, &change)?;
                let destroyed_at = match change.next.phase {
                    mayfly_machine::Phase::Destroyed { at } => Some(at),
                    _ => None,
                };
                let changed = tx.execute(
                    UPDATE,
                    args![
                        id.as_str(),
                        generation,
                        seq.map(|seq| seq.0),
                        MACHINE_VERSION,
                        destroyed_at,
                        records.encode_machine(&change.next)
                    ],
                )?;
                if changed == 0 {
                    return Err(StoreError::Overtaken {
                        machine_id: id,
                        expected: generation,
                    });
                }
                Ok(seq)
            })
            .await
    }

    /// Every machine, also the destroyed ones that are still remembered.
    pub async fn machines(&self) -> Result<Vec<Stored>, StoreError> {
        let records = self.records.clone();
        self.db
            .read(move |reader| {
                let rows = reader.rows(ALL, &[])?;
                rows.iter().map(|row| stored(&records, row)).collect()
            })
            .await
    }

    /// One machine as stored.
    pub async fn machine(&self, id: MachineId) -> Result<Option<Stored>, StoreError> {
        let records = self.records.clone();
        self.db
            .read(move |reader| {
                let row = reader.row(ONE, args![id.as_str()])?;
                row.as_ref().map(|row| stored(&records, row)).transpose()
            })
            .await
    }

    /// Drops machines that were destroyed before `before`; returns which.
    pub async fn forget_destroyed(&self, before: Timestamp) -> Result<Vec<MachineId>, StoreError> {
        self.db
            .write(move |tx| {
                let rows = tx.rows(FORGET, args![before])?;
                let ids: Result<Vec<MachineId>, _> =
                    rows.iter().map(|row| row.parse("id")).collect();
                let ids = ids?;
                for id in &ids {
                    runs::forget(tx, *id)?;
                }
                Ok(ids)
            })
            .await
    }
}

fn write_history(tx: &mut Tx<'_>, change: &Change) -> Result<Option<HostSeq>, StoreError> {
    let mut newest = None;
    for report in &change.reports {
        newest = Some(events::append(tx, report)?);
    }
    for run in &change.runs {
        runs::write(tx, change.next.identity.machine_id, run, change.at)?;
    }
    Ok(newest)
}
