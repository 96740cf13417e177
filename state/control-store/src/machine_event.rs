use std::collections::BTreeMap;

use mayfly_db::{Row, Tx, args};
use mayfly_host_api::{Actor, EventKind, ExitEvent, HostEvent};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, Timestamp};
use serde_json::{Value, json};

use crate::event::to_json;
use crate::{ControlStore, StoreError};

/// A dated fact in a machine's history, as its users see it.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineEvent {
    /// A ULID: the same fact always has the same id.
    pub id: String,
    pub machine_id: MachineId,
    /// `launch`, `start`, `exit`, …
    pub kind: String,
    /// What the machine came to by it: `created`, `started`, `stopped`, …
    pub status: String,
    /// `user`, `flyd` or `proxy`.
    pub source: String,
    pub at: Timestamp,
    /// `exit_event` and `restart_count` of an exit, `reason` of a failed launch.
    pub request: Option<Value>,
}

const INSERT: &str = "
    INSERT INTO machine_event (id, machine_id, host_seq, type, status, source, at, request)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";

const OF_MACHINE: &str = "
    SELECT * FROM machine_event WHERE machine_id = $1 ORDER BY host_seq DESC LIMIT $2";

/// The newest of each machine of an app.
const OF_APP: &str = "
    SELECT machine_event.* FROM machine JOIN machine_event ON machine_event.machine_id = machine.id
     WHERE machine.app_id = $1 AND (machine.destroyed_at IS NULL OR $3 = 1)
       AND machine_event.id IN (SELECT newest.id FROM machine_event newest
                                 WHERE newest.machine_id = machine.id
                                 ORDER BY newest.host_seq DESC LIMIT $2)
     ORDER BY machine_event.machine_id, machine_event.host_seq DESC";

impl ControlStore {
    /// The history of a machine, newest first.
    pub async fn machine_events(
        &self,
        machine: MachineId,
        limit: u32,
    ) -> Result<Vec<MachineEvent>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_MACHINE, args![machine.as_str(), limit])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// The newest events of every machine of an app in one query, newest first.
    pub async fn app_machine_events(
        &self,
        app: AppId,
        per_machine: u32,
        include_deleted: bool,
    ) -> Result<BTreeMap<MachineId, Vec<MachineEvent>>, StoreError> {
        self.read(move |reader| {
            let values = args![app.as_str(), per_machine, include_deleted];
            let mut events: BTreeMap<MachineId, Vec<MachineEvent>> = BTreeMap::new();
            for row in reader.rows(OF_APP, values)? {
                let event = from_row(&row)?;
                events.entry(event.machine_id).or_default().push(event);
            }
            Ok(events)
        })
        .await
    }
}

/// Keeps what users see of a reported change, if they see anything.
pub(crate) fn record(
    tx: &mut Tx<'_>,
    host: HostId,
    reported: &HostEvent,
) -> Result<(), StoreError> {
    let Some(kind) = &reported.event else {
        return Ok(());
    };
    let Some((word, status, request)) = render(kind, reported) else {
        return Ok(());
    };
    tx.execute(
        INSERT,
        args![
            id(host, reported).as_str(),
            reported.machine_id.as_str(),
            reported.seq.0,
            word,
            status,
            source(reported.by),
            reported.at,
            request.as_ref().map(to_json),
        ],
    )?;
    Ok(())
}

/// Sorts by time and then by the host's numbering, and is the same whenever it is computed.
fn id(host: HostId, reported: &HostEvent) -> InstanceId {
    let mut tail = [0; 10];
    tail[..6].copy_from_slice(&reported.seq.0.to_be_bytes()[2..]);
    let digits = host.as_str().as_bytes();
    for (slot, pair) in tail[6..].iter_mut().zip(digits.chunks(2)) {
        *slot = pair
            .iter()
            .fold(0, |byte, digit| byte << 4 | nibble(*digit));
    }
    InstanceId::new(reported.at, tail)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

/// The word in an event's `source`.
pub(crate) fn source(by: Actor) -> &'static str {
    match by {
        Actor::User => "user",
        Actor::Platform => "flyd",
        Actor::Proxy => "proxy",
    }
}

type Rendered = (&'static str, &'static str, Option<Value>);

/// Nothing for what is in the event log only: clients look for the newest start and exit among the few they are given.
fn render(kind: &EventKind, reported: &HostEvent) -> Option<Rendered> {
    let now = reported.report.state.as_str();
    Some(match kind {
        EventKind::Check(_) | EventKind::Session(_) => return None,
        EventKind::Launch => ("launch", "created", None),
        EventKind::Start => ("start", "started", None),
        EventKind::Resume => ("start", "started", None),
        EventKind::Exit(exit) => ("exit", "stopped", Some(exit_request(exit))),
        EventKind::Stop => ("stop", now, None),
        EventKind::Restart => ("restart", now, None),
        EventKind::Update => ("update", now, None),
        EventKind::Suspend => ("suspend", now, None),
        EventKind::Destroy => ("destroy", now, None),
        EventKind::VolumeRepaired(note) => ("volume_repaired", now, Some(json!(note))),
        EventKind::LaunchFailed { reason } => {
            ("launch", "failed", Some(json!({ "reason": reason })))
        }
    })
}

fn exit_request(exit: &ExitEvent) -> Value {
    json!({
        "exit_event": {
            "exit_code": exit.exit_code,
            "guest_exit_code": exit.guest_exit_code,
            "guest_signal": exit.guest_signal,
            "oom_killed": exit.oom_killed,
            "requested_stop": exit.requested_stop,
            "restarting": exit.restarting,
            "signal": exit.signal,
            "exited_at": exit.exited_at,
        },
        "restart_count": exit.restart_count,
    })
}

fn from_row(row: &Row) -> Result<MachineEvent, StoreError> {
    Ok(MachineEvent {
        id: row.get("id")?,
        machine_id: row.parse("machine_id")?,
        kind: row.get("type")?,
        status: row.get("status")?,
        source: row.get("source")?,
        at: row.get("at")?,
        request: row.parse_opt("request")?,
    })
}
