//! How much organizations may have, as their admins say.

use std::time::Duration;

use mayfly_db::{Reader, Row, Tx, args};
use mayfly_types::OrgId;
use serde_json::{Value, json};

use crate::app::BUILDER;
use crate::event::{Subject, append};
use crate::{By, ControlStore, StoreError, organization};

/// The most an organization may have; what is `None` has no limit. Its builder does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub apps: Option<i64>,
    /// Machines that are not destroyed, of all its apps.
    pub machines: Option<i64>,
    /// How long an app lives that is made without a time of its own.
    pub ttl: Option<Duration>,
}

/// What an organization has of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub apps: i64,
    pub machines: i64,
}

const SELECT: &str = "SELECT apps, machines, ttl_ms FROM budget WHERE org_id = $1";

const SET: &str = "
    INSERT INTO budget (org_id, apps, machines, ttl_ms) VALUES ($1, $2, $3, $4)
    ON CONFLICT (org_id) DO UPDATE
       SET apps = excluded.apps, machines = excluded.machines, ttl_ms = excluded.ttl_ms";

/// Changes nothing: whoever counts next to this transaction waits for its end.
const HOLD: &str = "UPDATE budget SET org_id = org_id WHERE org_id = $1";

const USED: &str = "
    SELECT (SELECT COUNT(*) FROM app
             WHERE app.org_id = $1 AND app.deleted_at IS NULL AND app.role <> $2) AS apps,
           (SELECT COUNT(*) FROM machine JOIN app ON app.id = machine.app_id
             WHERE app.org_id = $1 AND machine.destroyed_at IS NULL AND app.role <> $2) AS machines";

impl ControlStore {
    /// The organization's budget, and what is used of it.
    pub async fn budget(&self, org: OrgId) -> Result<(Budget, Used), StoreError> {
        self.read(move |reader| Ok((of(reader, org)?, used(reader, org)?)))
            .await
    }

    /// Says how much an organization may have from now on. What it has beyond that stays.
    ///
    /// # Errors
    /// `NotFound` for the organization.
    pub async fn set_budget(&self, org: OrgId, budget: Budget, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let org = organization::by_id(tx, org)?;
            let before = of(tx, org.id)?;
            if before == budget {
                return Ok(());
            }
            let ttl = budget.ttl.map(millis);
            tx.execute(
                SET,
                args![org.id.as_str(), budget.apps, budget.machines, ttl],
            )?;
            append(
                tx,
                &by,
                "budget.set",
                &Subject::org(org.id),
                Some(&recorded(&before)),
                Some(&recorded(&budget)),
            )
        })
        .await
    }
}

fn millis(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}

fn recorded(budget: &Budget) -> Value {
    json!({ "apps": budget.apps, "machines": budget.machines, "ttl_ms": budget.ttl.map(millis) })
}

fn of(reader: &mut Reader<'_>, org: OrgId) -> Result<Budget, StoreError> {
    let row = reader.row(SELECT, args![org.as_str()])?;
    row.as_ref().map_or(Ok(Budget::default()), from_row)
}

fn from_row(row: &Row) -> Result<Budget, StoreError> {
    let ttl: Option<i64> = row.get("ttl_ms")?;
    Ok(Budget {
        apps: row.get("apps")?,
        machines: row.get("machines")?,
        ttl: ttl.map(|ms| Duration::from_millis(ms.unsigned_abs())),
    })
}

fn used(reader: &mut Reader<'_>, org: OrgId) -> Result<Used, StoreError> {
    let row = reader.row(USED, args![org.as_str(), BUILDER])?;
    let row = row.expect("counts are one row");
    Ok(Used {
        apps: row.get("apps")?,
        machines: row.get("machines")?,
    })
}

/// The budget an app of this role is made by, with room for it.
///
/// # Errors
/// `OverBudget`.
pub(crate) fn for_app(tx: &mut Tx<'_>, org: OrgId, role: &str) -> Result<Budget, StoreError> {
    if role == BUILDER || tx.execute(HOLD, args![org.as_str()])? == 0 {
        return Ok(Budget::default());
    }
    let budget = of(tx, org)?;
    let used = used(tx, org)?;
    within(tx, org, "apps", budget.apps, used.apps)?;
    Ok(budget)
}

/// Looks for room for one more machine in an app of this role.
///
/// # Errors
/// `OverBudget`.
pub(crate) fn for_machine(tx: &mut Tx<'_>, org: OrgId, role: &str) -> Result<(), StoreError> {
    if role == BUILDER || tx.execute(HOLD, args![org.as_str()])? == 0 {
        return Ok(());
    }
    let budget = of(tx, org)?;
    let used = used(tx, org)?;
    within(tx, org, "machines", budget.machines, used.machines)
}

fn within(
    tx: &mut Tx<'_>,
    org: OrgId,
    what: &'static str,
    most: Option<i64>,
    used: i64,
) -> Result<(), StoreError> {
    match most {
        Some(most) if used >= most => Err(StoreError::OverBudget {
            org: organization::by_id(tx, org)?.slug.to_string(),
            what,
            most,
        }),
        _ => Ok(()),
    }
}
