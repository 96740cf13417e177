//! What hosts report, taken over in their order and exactly once.

use std::time::Duration;

use mayfly_db::{Tx, args};
use mayfly_host_api::{CheckStatus, CheckTurn, EventKind, HostEvent, MachineReport};
use mayfly_machine::{MachineState, SessionNote};
use mayfly_types::{EventSeq, HostId, HostSeq, InstanceId};
use serde_json::{Value, json};

use crate::event::{NOTHING, append, to_json};
use crate::machine::{self, Machine};
use crate::machine_event::{record, source};
use crate::{By, ControlStore, StoreError, host, volume};

/// What came of a batch of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where to ask the host to continue.
    pub cursor: HostSeq,
    /// Reports that were new.
    pub reports: u64,
    /// New reports about machines this store does not know.
    pub unknown: u64,
}

const ADVANCE: &str = "UPDATE host SET applied_seq = $2, seen_at = $3 WHERE id = $1";

const OBSERVE: &str = "
    UPDATE machine
       SET state = $2, state_since = $3, host_seq = $4, observed_instance_id = $5, cordoned = $6,
           private_ip = $7, failure = $8, containers = $9, updated_at = $10,
           destroyed_at = CASE WHEN $2 = 'destroyed' THEN COALESCE(destroyed_at, $3) ELSE destroyed_at END
     WHERE id = $1";

const END_LEASE: &str = "
    UPDATE machine
       SET lease_nonce = NULL, lease_owner = NULL, lease_description = NULL, lease_expires_at = NULL
     WHERE id = $1";

impl ControlStore {
    /// Takes over what a host reports: machine states, their history, the event log and the host's cursor, in one
    /// transaction. Reports that are contained already change nothing, so a repeated or overlapping batch is harmless.
    ///
    /// Every new report of a known machine is one `machine.state` row of the log, except that a repetition of the
    /// state before it that users cannot see is none.
    ///
    /// # Errors
    /// `NotFound` if the host was never registered.
    pub async fn apply_host_events(
        &self,
        host: HostId,
        events: Vec<HostEvent>,
    ) -> Result<Applied, StoreError> {
        self.write(move |tx| {
            let known =
                host::by_id(tx, host)?.ok_or_else(|| StoreError::not_found("host", host))?;
            let mut applied = Applied {
                cursor: known.applied_seq,
                reports: 0,
                unknown: 0,
            };
            let mut seen_at = known.seen_at;
            for reported in events.iter().filter(|event| event.seq > known.applied_seq) {
                applied.reports += 1;
                applied.cursor = applied.cursor.max(reported.seq);
                seen_at = seen_at.max(reported.at);
                match machine::find(tx, reported.machine_id)? {
                    Some(machine) if machine.host_id == host => {
                        observe(tx, host, &machine, reported)?
                    }
                    _ => applied.unknown += 1,
                }
            }
            if applied.reports > 0 {
                tx.execute(ADVANCE, args![host.as_str(), applied.cursor.0, seen_at])?;
            }
            Ok(applied)
        })
        .await
    }

    /// Waits until a host's reports up to `seq` are contained, at most `patience`; true if they are.
    ///
    /// For reading back what a host has just answered.
    pub async fn wait_applied(
        &self,
        host: HostId,
        seq: HostSeq,
        patience: Duration,
    ) -> Result<bool, StoreError> {
        /// Another process may be the one that applies them.
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let deadline = tokio::time::Instant::now() + patience;
        let mut news = self.watch();
        loop {
            let _: EventSeq = *news.borrow_and_update();
            if self.host(host).await?.applied_seq >= seq {
                return Ok(true);
            }
            let now = tokio::time::Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            let until = deadline.min(now + LOOK_AGAIN);
            // Either way the store is asked again.
            let _ = tokio::time::timeout_at(until, news.changed()).await;
        }
    }
}

fn observe(
    tx: &mut Tx<'_>,
    host: HostId,
    machine: &Machine,
    reported: &HostEvent,
) -> Result<(), StoreError> {
    let report = &reported.report;
    let turn = match &reported.event {
        Some(EventKind::Check(turn)) => Some(turn),
        _ => None,
    };
    let session = match &reported.event {
        Some(EventKind::Session(note)) => Some(note),
        _ => None,
    };
    // A machine is not changed by what its checks see, nor by who enters it.
    let updated_at = match turn.is_some() || session.is_some() {
        true => machine.updated_at,
        false => reported.at,
    };
    tx.execute(
        OBSERVE,
        args![
            machine.id.as_str(),
            report.state.as_str(),
            report.since,
            reported.seq.0,
            report.instance_id.as_str(),
            report.cordoned,
            report.private_ip.as_str(),
            report.failure.as_deref(),
            to_json(&report.containers),
            updated_at,
        ],
    )?;
    let by = By {
        at: reported.at,
        actor: format!("host:{host}"),
        cause: Some(format!("host:{host}:{}", reported.seq.0)),
    };
    if report.state == MachineState::Destroyed {
        tx.execute(END_LEASE, args![machine.id.as_str()])?;
        volume::detach(tx, machine.id, &by)?;
    }
    if let Some(turn) = turn {
        return append_check(tx, &by, machine, turn);
    }
    if let Some(note) = session {
        return append_session(tx, by, machine, note);
    }
    record(tx, host, reported)?;
    let before = shown(
        machine.state,
        machine.observed_instance_id,
        machine.cordoned,
        machine.failure.as_deref(),
    );
    let mut after = reported_shape(report);
    if reported.event.is_none() && before == after {
        return Ok(());
    }
    if let (Value::Object(after), Some(kind)) = (&mut after, &reported.event) {
        after.insert("event".to_owned(), json!(kind));
        after.insert("source".to_owned(), json!(source(reported.by)));
    }
    append(
        tx,
        &by,
        "machine.state",
        &machine.subject(),
        Some(&before),
        Some(&after),
    )
}

/// One row per change of a check: `check.passing`, `check.warning` or `check.critical`.
fn append_check(
    tx: &mut Tx<'_>,
    by: &By,
    machine: &Machine,
    turn: &CheckTurn,
) -> Result<(), StoreError> {
    let kind = match turn.to {
        CheckStatus::Passing => "check.passing",
        CheckStatus::Warning => "check.warning",
        CheckStatus::Critical => "check.critical",
    };
    let before = json!({ "name": turn.name, "status": turn.from });
    let after = json!({
        "name": turn.name,
        "status": turn.to,
        "output": turn.output,
        "region": machine.region,
        "machine_name": machine.name,
    });
    append(
        tx,
        by,
        kind,
        &machine.subject(),
        Some(&before),
        Some(&after),
    )
}

/// Acted by whom the certificate was issued to.
fn append_session(
    tx: &mut Tx<'_>,
    by: By,
    machine: &Machine,
    note: &SessionNote,
) -> Result<(), StoreError> {
    let visitor = note.visitor.split_once('/');
    let by = By {
        actor: visitor.map_or(by.actor, |(user, _)| user.to_owned()),
        ..by
    };
    let after = json!({
        "visitor": visitor.map_or(note.visitor.as_str(), |(_, email)| email),
        "serial": note.serial,
        "user": note.user,
        "what": note.what,
        "through": "ssh",
    });
    append(
        tx,
        &by,
        "ssh.session",
        &machine.subject(),
        NOTHING,
        Some(&after),
    )
}

fn reported_shape(report: &MachineReport) -> Value {
    shown(
        report.state,
        Some(report.instance_id),
        report.cordoned,
        report.failure.as_deref(),
    )
}

fn shown(
    state: MachineState,
    instance_id: Option<InstanceId>,
    cordoned: bool,
    failure: Option<&str>,
) -> Value {
    json!({
        "state": state,
        "instance_id": instance_id,
        "cordoned": cordoned,
        "failure": failure,
    })
}
