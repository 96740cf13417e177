//! Names that users give their apps, and who of several has one.

mod change;

use mayfly_db::{Reader, Row, Value, args};
use mayfly_types::{AppId, AppName, Hostname, OrgId, Timestamp};

use crate::certificate::{self, StoredCertificate};
use crate::{ControlStore, StoreError};

pub use change::Progress;
pub(crate) use change::forget_app;

/// A name an app asks for beside its own.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomHostname {
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    pub name: Hostname,
    /// A certificate is to be obtained for it.
    pub acme: bool,
    /// Requests for the name go to this app. Of several apps that ask for a name, one has it.
    pub holder: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// What DNS said last; its shape is the checker's.
    pub findings: Option<serde_json::Value>,
    pub checked_at: Option<Timestamp>,
    pub next_at: Timestamp,
    /// Orders that failed since the last that did not.
    pub attempts: u32,
    /// The authority asked not to be asked before.
    pub limited_until: Option<Timestamp>,
    /// Why the last order failed; its shape is the keeper's.
    pub failure: Option<serde_json::Value>,
    pub certificates: Vec<StoredCertificate>,
}

/// Which of an app's names to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostnameFilter {
    /// Names that hold this text.
    pub containing: Option<String>,
    /// Names behind this one.
    pub after: Option<String>,
    pub limit: u32,
}

/// Who has a name now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub app_id: AppId,
    pub org_id: OrgId,
}

const SELECT: &str = "
    SELECT hostname.*, app.name AS app_name
      FROM hostname JOIN app ON app.id = hostname.app_id
     WHERE app.deleted_at IS NULL";

const COUNT: &str = "SELECT COUNT(*) AS found FROM hostname WHERE app_id = $1";

const HOLDER: &str = "SELECT app_id, org_id FROM hostname WHERE name = $1 AND holder = 1";

impl ControlStore {
    /// # Errors
    /// `NotFound`.
    pub async fn hostname(&self, app: AppId, name: Hostname) -> Result<CustomHostname, StoreError> {
        self.read(move |reader| one(reader, app, &name)).await
    }

    /// An app's names in order, and how many there are by the filter's text in all.
    pub async fn hostnames(
        &self,
        app: AppId,
        filter: HostnameFilter,
    ) -> Result<(Vec<CustomHostname>, i64), StoreError> {
        self.read(move |reader| {
            let mut values = vec![Value::from(app.as_str())];
            let mut condition = String::new();
            if let Some(text) = &filter.containing {
                values.push(Value::from(format!("%{}%", escaped(text))));
                condition = format!(" AND hostname.name LIKE ${} ESCAPE '!'", values.len());
            }
            let row = reader.row(&format!("{COUNT}{condition}"), &values)?;
            let total: i64 = row.expect("a count is one row").get("found")?;
            if let Some(after) = &filter.after {
                values.push(Value::from(after));
                condition.push_str(&format!(" AND hostname.name > ${}", values.len()));
            }
            values.push(Value::from(filter.limit));
            let sql = format!(
                "{SELECT} AND hostname.app_id = $1{condition} ORDER BY hostname.name LIMIT ${}",
                values.len()
            );
            let rows = reader.rows(&sql, &values)?;
            let names: Result<Vec<_>, _> = rows.iter().map(|row| from_row(reader, row)).collect();
            Ok((names?, total))
        })
        .await
    }

    /// Names with something to do at `now`, the longest waiting first.
    pub async fn due_hostnames(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<CustomHostname>, StoreError> {
        self.read(move |reader| {
            let sql =
                format!("{SELECT} AND hostname.next_at <= $1 ORDER BY hostname.next_at LIMIT $2");
            let rows = reader.rows(&sql, args![now, limit])?;
            rows.iter().map(|row| from_row(reader, row)).collect()
        })
        .await
    }

    /// When the next name has something to do.
    pub async fn next_due_hostname(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reader| {
            let row = reader.row("SELECT MIN(next_at) AS next FROM hostname", &[])?;
            Ok(row.expect("an aggregate is one row").get("next")?)
        })
        .await
    }

    pub async fn holder_of(&self, name: Hostname) -> Result<Option<Holder>, StoreError> {
        self.read(move |reader| holder(reader, name.as_str())).await
    }
}

/// `text` in lower case for LIKE, to be taken by the letter.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.to_ascii_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            safe.push('!');
        }
        safe.push(character);
    }
    safe
}

pub(crate) fn holder(reader: &mut Reader<'_>, name: &str) -> Result<Option<Holder>, StoreError> {
    let row = reader.row(HOLDER, args![name])?;
    row.map(|row| {
        Ok(Holder {
            app_id: row.parse("app_id")?,
            org_id: row.parse("org_id")?,
        })
    })
    .transpose()
}

pub(crate) fn one(
    reader: &mut Reader<'_>,
    app: AppId,
    name: &Hostname,
) -> Result<CustomHostname, StoreError> {
    let sql = format!("{SELECT} AND hostname.app_id = $1 AND hostname.name = $2");
    let row = reader.row(&sql, args![app.as_str(), name.as_str()])?;
    let row = row.ok_or_else(|| StoreError::not_found("hostname", name))?;
    from_row(reader, &row)
}

fn from_row(reader: &mut Reader<'_>, row: &Row) -> Result<CustomHostname, StoreError> {
    let (app_id, name): (AppId, Hostname) = (row.parse("app_id")?, row.parse("name")?);
    Ok(CustomHostname {
        app_name: row.parse("app_name")?,
        org_id: row.parse("org_id")?,
        acme: row.get("acme")?,
        holder: row.get("holder")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        findings: row.parse_opt("findings")?,
        checked_at: row.get("checked_at")?,
        next_at: row.get("next_at")?,
        attempts: row.get("attempts")?,
        limited_until: row.get("limited_until")?,
        failure: row.parse_opt("failure")?,
        certificates: certificate::of(reader, Some(app_id), name.as_str())?,
        app_id,
        name,
    })
}
