use mayfly_db::Value;
use mayfly_types::{EventSeq, OrgId, Timestamp};

use crate::event::from_row;
use crate::hostname::escaped;
use crate::{ControlStore, Event, OfApp, StoreError};

/// Which changes of an organization to look back on; everything that is `None` matches all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFilter {
    pub org: OrgId,
    pub app: Option<OfApp>,
    /// Changes by this actor, such as `user:<id>`.
    pub actor: Option<String>,
    /// Changes whose kind begins so, such as `machine.`.
    pub kinds: Option<String>,
    pub since: Option<Timestamp>,
    /// Changes before this position.
    pub before: Option<EventSeq>,
    /// Only what people, robots and machines did with a token or at a door: not what followed from it.
    pub asked: bool,
}

const OF_ORG: &str = "
    SELECT event.*, organization.slug AS org_slug
      FROM event JOIN organization ON organization.id = event.org_id
     WHERE event.org_id = $1";

impl ControlStore {
    /// Rows of the log, newest first, at most `limit`.
    pub async fn audit(&self, filter: AuditFilter, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(move |reader| {
            let mut sql = OF_ORG.to_owned();
            let mut values = vec![Value::from(filter.org.as_str()), Value::from(limit)];
            let mut narrow = |condition: &str, value: Option<Value>| {
                if let Some(value) = value {
                    values.push(value);
                    sql.push_str(&format!(" AND {condition} ${}", values.len()));
                }
            };
            if let Some((column, value)) = filter.app.as_ref().map(OfApp::column) {
                narrow(&format!("{column} ="), Some(value));
            }
            narrow("event.actor =", filter.actor.map(Value::from));
            narrow("event.at >=", filter.since.map(Value::from));
            narrow("event.seq <", filter.before.map(|seq| seq.0.into()));
            if let Some(kinds) = &filter.kinds {
                values.push(format!("{}%", escaped(kinds)).into());
                sql.push_str(&format!(
                    " AND event.kind LIKE ${} ESCAPE '!'",
                    values.len()
                ));
            }
            if filter.asked {
                sql.push_str(" AND (event.actor LIKE 'user:%' OR event.actor LIKE 'machine:%')");
            }
            sql.push_str(" ORDER BY event.seq DESC LIMIT $2");
            reader.rows(&sql, &values)?.iter().map(from_row).collect()
        })
        .await
    }
}
