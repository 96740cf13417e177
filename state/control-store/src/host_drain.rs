//! Hosts that are being emptied, and how far each of their machines is on its way.

use mayfly_db::{Reader, Row, Tx, args};
use mayfly_types::{AppId, HostId, MachineId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::host::Host;
use crate::{By, ControlStore, StoreError, host, machine};

/// A host that is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostDrain {
    pub host_id: HostId,
    pub started_at: Timestamp,
}

/// One machine's way from a host to another, by a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMove {
    pub machine_id: MachineId,
    /// The host it leaves.
    pub host_id: HostId,
    pub app_id: AppId,
    /// The machine that takes its place; known before it is made.
    pub replacement_id: MachineId,
    /// Whether the replacement is started, or only made.
    pub launches: bool,
    pub stage: MoveStage,
    /// What keeps it, or what it failed by.
    pub problem: Option<String>,
    pub began_at: Timestamp,
    pub stage_since: Timestamp,
}

/// Forward only: `Replacing` can be given up, what is `Retiring` is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStage {
    /// The replacement is made and comes up.
    Replacing,
    /// The replacement has taken over; the machine ends.
    Retiring,
    /// The machine is gone.
    Done,
    /// The machine stays.
    Failed,
}

impl MoveStage {
    pub const ALL: [MoveStage; 4] = [
        MoveStage::Replacing,
        MoveStage::Retiring,
        MoveStage::Done,
        MoveStage::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            MoveStage::Replacing => "replacing",
            MoveStage::Retiring => "retiring",
            MoveStage::Done => "done",
            MoveStage::Failed => "failed",
        }
    }

    /// Whether there is something to do.
    pub const fn is_open(self) -> bool {
        matches!(self, MoveStage::Replacing | MoveStage::Retiring)
    }
}

const BEGIN: &str = "
    INSERT INTO host_drain (host_id, started_at) VALUES ($1, $2) ON CONFLICT (host_id) DO NOTHING";

const END: &str = "DELETE FROM host_drain WHERE host_id = $1";

const ALL: &str = "SELECT * FROM host_drain ORDER BY started_at, host_id";

const FORGET_FAILED: &str = "DELETE FROM host_move WHERE host_id = $1 AND stage = 'failed'";

const FORGET_ENDED: &str =
    "DELETE FROM host_move WHERE host_id = $1 AND stage IN ('done', 'failed')";

const FORGET: &str = "DELETE FROM host_move WHERE machine_id = $1";

const BEGIN_MOVE: &str = "
    INSERT INTO host_move (machine_id, host_id, app_id, replacement_id, launches, stage, began_at, stage_since)
    VALUES ($1, $2, $3, $4, $5, 'replacing', $6, $6)
    ON CONFLICT (machine_id) DO NOTHING";

const SET_STAGE: &str = "
    UPDATE host_move SET stage = $2, problem = $3, stage_since = $4 WHERE machine_id = $1";

const SET_PROBLEM: &str = "
    UPDATE host_move SET problem = $2 WHERE machine_id = $1 AND stage IN ('replacing', 'retiring')";

const MOVES: &str = "SELECT * FROM host_move ORDER BY began_at, machine_id";

impl ControlStore {
    /// Begins to empty a host: nothing new is placed on it from now on, and what could not move before is tried anew.
    pub async fn begin_host_drain(&self, id: HostId, by: By) -> Result<Host, StoreError> {
        self.write(move |tx| {
            let host = host::set_cordon(tx, id, true, &by)?;
            tx.execute(FORGET_FAILED, args![id.as_str()])?;
            if tx.execute(BEGIN, args![id.as_str(), by.at])? > 0 {
                host::note(tx, &by, "host.drain", &host)?;
            }
            Ok(host)
        })
        .await
    }

    /// Gives a host new machines again, whether it was being emptied or only cordoned. Moves that have just begun are
    /// given up by whoever carries them out.
    pub async fn end_host_drain(&self, id: HostId, by: By) -> Result<Host, StoreError> {
        self.write(move |tx| {
            let host = host::set_cordon(tx, id, false, &by)?;
            if tx.execute(END, args![id.as_str()])? > 0 {
                tx.execute(FORGET_ENDED, args![id.as_str()])?;
                host::note(tx, &by, "host.undrain", &host)?;
            }
            Ok(host)
        })
        .await
    }

    /// Every host that is being emptied, in the order this began.
    pub async fn host_drains(&self) -> Result<Vec<HostDrain>, StoreError> {
        self.read(|reader| {
            let rows = reader.rows(ALL, &[])?;
            let drains = rows.iter().map(|row| {
                Ok(HostDrain {
                    host_id: row.parse("host_id")?,
                    started_at: row.get("started_at")?,
                })
            });
            drains.collect()
        })
        .await
    }

    /// Every move that is remembered: under way, and of hosts that are being emptied those that ended.
    pub async fn host_moves(&self) -> Result<Vec<HostMove>, StoreError> {
        self.read(|reader: &mut Reader<'_>| reader.rows(MOVES, &[])?.iter().map(from_row).collect())
            .await
    }

    /// Notes that a machine begins to move, and by which machine it will be replaced. Twice is once.
    pub async fn begin_host_move(
        &self,
        machine: MachineId,
        replacement: MachineId,
        launches: bool,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let found = machine::living(tx, machine)?;
            let values = args![
                machine.as_str(),
                found.host_id.as_str(),
                found.app_id.as_str(),
                replacement.as_str(),
                i64::from(launches),
                by.at,
            ];
            tx.execute(BEGIN_MOVE, values)?;
            Ok(())
        })
        .await
    }

    /// The move comes to its next stage; that it is done is an event of the machine.
    pub async fn set_host_move_stage(
        &self,
        moving: HostMove,
        stage: MoveStage,
        problem: Option<String>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let id = moving.machine_id;
            let values = args![id.as_str(), stage.as_str(), problem.as_deref(), by.at];
            if tx.execute(SET_STAGE, values)? == 0 {
                return Ok(());
            }
            let kind = match stage {
                MoveStage::Done => "machine.moved",
                MoveStage::Failed => "machine.move_failed",
                MoveStage::Replacing | MoveStage::Retiring => return Ok(()),
            };
            let subject = subject(tx, id)?;
            let after = json!({
                "machine": id,
                "host": moving.host_id,
                "replacement": moving.replacement_id,
                "problem": problem,
            });
            append(tx, &by, kind, &subject, NOTHING, Some(&after))
        })
        .await
    }

    /// Notes what keeps a move that is under way, or that nothing does any more.
    pub async fn set_host_move_problem(
        &self,
        machine: MachineId,
        problem: Option<String>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(SET_PROBLEM, args![machine.as_str(), problem.as_deref()])?;
            Ok(())
        })
        .await
    }

    /// The move is nobody's business any more.
    pub async fn forget_host_move(&self, machine: MachineId) -> Result<(), StoreError> {
        self.write(move |tx| Ok(tx.execute(FORGET, args![machine.as_str()]).map(drop)?))
            .await
    }
}

/// A host that leaves is not emptied any more.
pub(crate) fn forget_host(tx: &mut Tx<'_>, host: HostId) -> Result<(), StoreError> {
    tx.execute(END, args![host.as_str()])?;
    tx.execute(FORGET_ENDED, args![host.as_str()])?;
    Ok(())
}

/// A machine that was destroyed long ago may be forgotten.
fn subject(tx: &mut Tx<'_>, id: MachineId) -> Result<Subject, StoreError> {
    let found = machine::find(tx, id)?;
    Ok(found.map_or_else(Subject::default, |machine| machine.subject()))
}

fn from_row(row: &Row) -> Result<HostMove, StoreError> {
    let stage: String = row.get("stage")?;
    let known = MoveStage::ALL
        .into_iter()
        .find(|known| known.as_str() == stage);
    Ok(HostMove {
        machine_id: row.parse("machine_id")?,
        host_id: row.parse("host_id")?,
        app_id: row.parse("app_id")?,
        replacement_id: row.parse("replacement_id")?,
        launches: row.get::<i64>("launches")? != 0,
        stage: known.ok_or_else(|| {
            mayfly_db::DbError::column("stage", format!("`{stage}` is no stage of a move"))
        })?,
        problem: row.get("problem")?,
        began_at: row.get("began_at")?,
        stage_since: row.get("stage_since")?,
    })
}
