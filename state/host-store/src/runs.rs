use mayfly_db::{Row, Tx, args};
use mayfly_host_api::ScheduleRun;
use mayfly_machine::RunChange;
use mayfly_types::{MachineId, Timestamp};

use crate::{HostStore, StoreError};

/// Runs of a machine beyond this many, the oldest first, are dropped.
const KEPT: i64 = 500;

const PUT: &str = "
    INSERT INTO run (machine_id, due_at, started_at, outcome) VALUES ($1, $2, $3, $4)
    ON CONFLICT (machine_id, due_at) DO NOTHING";
const END: &str = "
    UPDATE run SET ended_at = $3, exit_code = $4, outcome = $5 WHERE machine_id = $1 AND due_at = $2";
const DROP_OLD: &str = "
    DELETE FROM run WHERE machine_id = $1 AND due_at < (
        SELECT MIN(due_at) FROM (
            SELECT due_at FROM run WHERE machine_id = $1 ORDER BY due_at DESC LIMIT $2) AS kept)";
const NEWEST: &str = "
    SELECT due_at, started_at, ended_at, exit_code, outcome FROM run
     WHERE machine_id = $1 ORDER BY due_at DESC LIMIT $2";
const FORGET: &str = "DELETE FROM run WHERE machine_id = $1";

pub(crate) fn write(
    tx: &mut Tx<'_>,
    machine: MachineId,
    change: &RunChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = machine.as_str();
    match change {
        RunChange::Started { due_at } => {
            tx.execute(PUT, args![id, *due_at, now, "started"])?;
            tx.execute(DROP_OLD, args![id, KEPT])?;
        }
        RunChange::Skipped { due_at } => {
            tx.execute(PUT, args![id, *due_at, None::<Timestamp>, "skipped"])?;
            tx.execute(DROP_OLD, args![id, KEPT])?;
        }
        RunChange::Exited { due_at, exit_code } => {
            tx.execute(END, args![id, *due_at, now, *exit_code, "exited"])?;
        }
        RunChange::Failed { due_at } => {
            tx.execute(END, args![id, *due_at, now, None::<i32>, "failed"])?;
        }
    }
    Ok(())
}

pub(crate) fn forget(tx: &mut Tx<'_>, machine: MachineId) -> Result<(), StoreError> {
    tx.execute(FORGET, args![machine.as_str()])?;
    Ok(())
}

fn decode(row: &Row) -> Result<ScheduleRun, StoreError> {
    Ok(ScheduleRun {
        due_at: row.get("due_at")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        exit_code: row.get("exit_code")?,
        outcome: row.get("outcome")?,
    })
}

impl HostStore {
    /// The last runs of a scheduled machine, newest first.
    pub async fn runs(
        &self,
        machine: MachineId,
        limit: usize,
    ) -> Result<Vec<ScheduleRun>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .read(move |reader| {
                let rows = reader.rows(NEWEST, args![machine.as_str(), limit])?;
                rows.iter().map(decode).collect()
            })
            .await
    }
}
