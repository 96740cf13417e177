use mayfly_db::args;
use mayfly_types::Timestamp;

use crate::{ControlStore, StoreError, app_secret};

/// What is old enough to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Rows of the event log and of machines' histories since then stay.
    pub events_since: Timestamp,
    /// Machines and volumes destroyed and apps deleted since then stay.
    pub destroyed_since: Timestamp,
    /// Idempotency keys that end after this stay.
    pub now: Timestamp,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub events: u64,
    pub machine_events: u64,
    pub machines: u64,
    pub volumes: u64,
    pub apps: u64,
    pub keys: u64,
}

impl Expired {
    pub fn total(&self) -> u64 {
        self.events + self.machine_events + self.machines + self.volumes + self.apps + self.keys
    }
}

/// At most so many rows of a kind per call, so that other writers get their turn between calls.
const BATCH: u32 = 500;

/// Entries of a machine's history that are kept however old they are.
const HISTORY_KEPT: u32 = 20;

const EVENTS: &str = "
    DELETE FROM event WHERE seq IN (
        SELECT seq FROM event WHERE at < $1 AND seq < (SELECT MAX(seq) FROM event)
         ORDER BY seq LIMIT $2)";

const MACHINE_EVENTS: &str = "
    DELETE FROM machine_event WHERE id IN (
        SELECT old.id FROM machine_event old
         WHERE old.at < $1
           AND old.host_seq < (SELECT kept.host_seq FROM machine_event kept
                                WHERE kept.machine_id = old.machine_id
                                ORDER BY kept.host_seq DESC LIMIT 1 OFFSET $3)
         LIMIT $2)";

const MACHINES: &str = "
    SELECT id FROM machine WHERE destroyed_at < $1 ORDER BY destroyed_at LIMIT $2";

/// Everything of one machine, its row last.
const FORGET_MACHINE: [&str; 6] = [
    app_secret::FORGET_OF_MACHINE,
    "DELETE FROM machine_metadata WHERE machine_id = $1",
    "DELETE FROM machine_event WHERE machine_id = $1",
    "DELETE FROM machine_version WHERE machine_id = $1",
    "DELETE FROM idempotency WHERE machine_id = $1",
    "DELETE FROM machine WHERE id = $1",
];

const APPS: &str = "
    DELETE FROM app WHERE id IN (
        SELECT id FROM app WHERE deleted_at < $1
           AND NOT EXISTS (SELECT 1 FROM machine WHERE machine.app_id = app.id)
         LIMIT $2)";

const VOLUMES: &str = "
    DELETE FROM volume WHERE id IN (SELECT id FROM volume WHERE destroyed_at < $1 LIMIT $2)";

const KEYS: &str = "
    DELETE FROM idempotency WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency WHERE expires_at <= $1 LIMIT $2)";

impl ControlStore {
    /// Forgets a batch of what is old. To be called until [`Expired::total`] is 0. Not an event itself.
    pub async fn expire(&self, keep: Keep) -> Result<Expired, StoreError> {
        self.write(move |tx| {
            let events = tx.execute(EVENTS, args![keep.events_since, BATCH])?;
            let values = args![keep.events_since, BATCH, HISTORY_KEPT - 1];
            let machine_events = tx.execute(MACHINE_EVENTS, values)?;
            let mut machines = 0;
            for row in tx.rows(MACHINES, args![keep.destroyed_since, BATCH])? {
                let id: String = row.get("id")?;
                for statement in FORGET_MACHINE {
                    tx.execute(statement, args![id.as_str()])?;
                }
                machines += 1;
            }
            let volumes = tx.execute(VOLUMES, args![keep.destroyed_since, BATCH])?;
            let apps = tx.execute(APPS, args![keep.destroyed_since, BATCH])?;
            let keys = tx.execute(KEYS, args![keep.now, BATCH])?;
            Ok(Expired {
                events,
                machine_events,
                machines,
                volumes,
                apps,
                keys,
            })
        })
        .await
    }
}
