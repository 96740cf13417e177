use mayfly_db::{Reader, Row, Tx, Value, args};
use mayfly_types::{AppId, AppName, EventSeq, MachineId, OrgId, OrgSlug, Timestamp};
use serde::Serialize;

use crate::{By, ControlStore, StoreError};

/// One row of the event log: a change of intent, or a change of reality that a host reported.
///
/// `before` and `after` say what changed. They hold no token, no lease nonce and of environments only the names.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub seq: EventSeq,
    pub at: Timestamp,
    /// `user:<id>`, `host:<id>`, `autoscaler` or `platform`.
    pub actor: String,
    /// `app.create`, `machine.update`, `machine.state`, …
    pub kind: String,
    pub org: Option<OrgId>,
    pub org_slug: Option<OrgSlug>,
    pub app: Option<AppId>,
    /// What the app was called then.
    pub app_name: Option<AppName>,
    pub machine_id: Option<MachineId>,
    pub cause: Option<String>,
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}

/// Which rows of the log to read; everything that is `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Rows of these organizations only. An empty list matches nothing.
    pub orgs: Option<Vec<OrgId>>,
    pub app: Option<OfApp>,
    pub machine: Option<MachineId>,
    /// Rows whose kind begins so.
    pub kinds: Option<&'static str>,
}

/// Which app an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfApp {
    Id(AppId),
    /// Every app that was called so, also when there is none any more.
    Called(AppName),
}

impl OfApp {
    /// The column that tells, and what it holds.
    pub(crate) fn column(&self) -> (&'static str, Value) {
        match self {
            OfApp::Id(id) => ("event.app_id", id.as_str().into()),
            OfApp::Called(name) => ("event.app_name", name.as_str().into()),
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) org: Option<OrgId>,
    pub(crate) app: Option<(AppId, AppName)>,
    pub(crate) machine: Option<MachineId>,
}

impl Subject {
    pub(crate) fn org(org: OrgId) -> Subject {
        Subject {
            org: Some(org),
            ..Subject::default()
        }
    }

    pub(crate) fn app(org: OrgId, id: AppId, name: &AppName) -> Subject {
        Subject {
            org: Some(org),
            app: Some((id, name.clone())),
            machine: None,
        }
    }
}

const NEWEST: &str = "SELECT COALESCE(MAX(seq), 0) AS seq FROM event";

/// The position of the newest row, 0 when there is none.
pub(crate) fn newest(reader: &mut Reader<'_>) -> Result<EventSeq, StoreError> {
    let row = reader.row(NEWEST, &[])?;
    let row = row.expect("an aggregate without groups is one row");
    Ok(EventSeq(row.get("seq")?))
}

const APPEND: &str = "
    INSERT INTO event
        (seq, at, actor, kind, org_id, app_id, app_name, machine_id, cause, before, after)
    VALUES
        ((SELECT COALESCE(MAX(seq), 0) + 1 FROM event), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Appends one row. Writers take turns, so positions have no gaps and become visible in order.
pub(crate) fn append<B: Serialize, A: Serialize>(
    tx: &mut Tx<'_>,
    by: &By,
    kind: &'static str,
    subject: &Subject,
    before: Option<&B>,
    after: Option<&A>,
) -> Result<(), StoreError> {
    let (app, app_name) = match &subject.app {
        Some((id, name)) => (Some(id.as_str()), Some(name.as_str())),
        None => (None, None),
    };
    tx.execute(
        APPEND,
        args![
            by.at,
            by.actor.as_str(),
            kind,
            subject.org.as_ref().map(OrgId::as_str),
            app,
            app_name,
            subject.machine.as_ref().map(MachineId::as_str),
            by.cause.as_deref(),
            before.map(to_json),
            after.map(to_json),
        ],
    )?;
    Ok(())
}

/// No `before`: something new.
pub(crate) const NOTHING: Option<&()> = None;

pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own values have text keys and are always JSON")
}

const ROWS: &str = "
    SELECT event.*, organization.slug AS org_slug
      FROM event LEFT JOIN organization ON organization.id = event.org_id
     WHERE seq > $1";

impl ControlStore {
    /// Rows of the log after `after`, oldest first, at most `limit`. A reader that continues behind the last row it
    /// got misses none.
    pub async fn events_after(
        &self,
        after: EventSeq,
        filter: EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |reader| rows(reader, after, &filter, "", limit))
            .await
    }

    /// The last rows of the log, oldest first, at most `limit`.
    pub async fn last_events(
        &self,
        filter: EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |reader| {
            let mut events = rows(reader, EventSeq(0), &filter, "DESC", limit)?;
            events.reverse();
            Ok(events)
        })
        .await
    }

    /// The position of the newest row in the database.
    pub async fn newest_event(&self) -> Result<EventSeq, StoreError> {
        self.read(newest).await
    }
}

fn rows(
    reader: &mut Reader<'_>,
    after: EventSeq,
    filter: &EventFilter,
    direction: &str,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut sql = ROWS.to_owned();
    let mut values = vec![Value::from(after.0), Value::from(limit)];
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    if let Some(orgs) = &filter.orgs {
        if orgs.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<String> = orgs
            .iter()
            .map(|org| place(Value::from(org.as_str())))
            .collect();
        sql.push_str(&format!(" AND event.org_id IN ({})", places.join(", ")));
    }
    if let Some(app) = &filter.app {
        let (column, value) = app.column();
        sql.push_str(&format!(" AND {column} = {}", place(value)));
    }
    if let Some(machine) = &filter.machine {
        sql.push_str(&format!(
            " AND machine_id = {}",
            place(machine.as_str().into())
        ));
    }
    if let Some(kinds) = filter.kinds {
        sql.push_str(&format!(
            " AND event.kind LIKE {}",
            place(format!("{kinds}%").into())
        ));
    }
    sql.push_str(&format!(" ORDER BY seq {direction} LIMIT $2"));
    reader.rows(&sql, &values)?.iter().map(from_row).collect()
}

pub(crate) fn from_row(row: &Row) -> Result<Event, StoreError> {
    Ok(Event {
        seq: EventSeq(row.get("seq")?),
        at: row.get("at")?,
        actor: row.get("actor")?,
        kind: row.get("kind")?,
        org: row.parse_opt("org_id")?,
        org_slug: row.parse_opt("org_slug")?,
        app: row.parse_opt("app_id")?,
        app_name: row.parse_opt("app_name")?,
        machine_id: row.parse_opt("machine_id")?,
        cause: row.get("cause")?,
        before: row.parse_opt("before")?,
        after: row.parse_opt("after")?,
    })
}
