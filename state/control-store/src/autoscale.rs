//! Groups of machines that come and go by load: the rules, and the changes that are under way.

use std::fmt;
use std::str::FromStr;

use mayfly_db::{Row, Tx, args};
use mayfly_types::{AppId, AppName, MachineId, Region, Timestamp};
use serde_json::{Value, json};

use crate::event::{NOTHING, Subject, append};
use crate::organization::words;
use crate::{App, By, ControlStore, StoreError, app};

/// How many machines a group shall have at least and at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoscaleRule {
    pub app_id: AppId,
    pub app_name: AppName,
    pub group: String,
    /// `None`: in all regions together that no other rule of the group names.
    pub region: Option<Region>,
    pub min: usize,
    pub max: usize,
    /// When the last change ended.
    pub changed_at: Option<Timestamp>,
    /// What that was, for people.
    pub last_change: Option<String>,
    /// Changes that failed since the last that did not.
    pub failures: u32,
}

/// A rule as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAutoscaleRule {
    pub group: String,
    pub region: Option<Region>,
    pub min: usize,
    pub max: usize,
}

words!(
    /// What a rule does.
    AutoscaleAction {
        Grow = "grow",
        Shrink = "shrink",
    }
);

/// A machine that is being made or ended by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoscaleChange {
    /// Of a machine that is made: known before.
    pub machine_id: MachineId,
    pub app_id: AppId,
    pub group: String,
    /// The rule's region.
    pub scope: Option<Region>,
    /// The machine's.
    pub region: Region,
    pub action: AutoscaleAction,
    /// For people.
    pub reason: String,
    pub began_at: Timestamp,
}

const SET: &str = "
    INSERT INTO autoscale_rule (app_id, process_group, region, min_machines, max_machines)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (app_id, process_group, region)
    DO UPDATE SET min_machines = excluded.min_machines, max_machines = excluded.max_machines, failures = 0";

const RULES: &str = "
    SELECT autoscale_rule.*, app.name AS app_name
      FROM autoscale_rule JOIN app ON app.id = autoscale_rule.app_id";

const IN_ORDER: &str = " ORDER BY autoscale_rule.app_id, process_group, region";

const REMOVE: &str =
    "DELETE FROM autoscale_rule WHERE app_id = $1 AND process_group = $2 AND region = $3";

const BEGIN: &str = "
    INSERT INTO autoscale_change (machine_id, app_id, process_group, scope, region, action, reason, began_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (machine_id) DO NOTHING";

const UNDER_WAY: &str = "
    SELECT 1 FROM autoscale_change WHERE app_id = $1 AND process_group = $2 AND scope = $3";

const CHANGES: &str = "SELECT * FROM autoscale_change ORDER BY began_at, machine_id";

const FORGET: &str = "DELETE FROM autoscale_change WHERE machine_id = $1";

const DONE: &str = "
    UPDATE autoscale_rule SET changed_at = $4, last_change = $5, failures = 0
     WHERE app_id = $1 AND process_group = $2 AND region = $3";

const FAILED: &str = "
    UPDATE autoscale_rule SET changed_at = $4, last_change = $5, failures = failures + 1
     WHERE app_id = $1 AND process_group = $2 AND region = $3";

impl ControlStore {
    /// Sets rules of an app, each in the place of the one for the same machines.
    pub async fn set_autoscale_rules(
        &self,
        app: AppId,
        rules: Vec<NewAutoscaleRule>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            for rule in rules {
                let region = scope_word(rule.region.as_ref());
                let values = args![
                    app.id.as_str(),
                    rule.group.as_str(),
                    region,
                    count(rule.min),
                    count(rule.max),
                ];
                tx.execute(SET, values)?;
                let after = told(&rule.group, rule.region.as_ref(), rule.min, rule.max);
                append(
                    tx,
                    &by,
                    "autoscale.rule.set",
                    &subject(&app),
                    NOTHING,
                    Some(&after),
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Takes rules of an app away; what they are just doing is brought to its end.
    pub async fn remove_autoscale_rules(
        &self,
        app: AppId,
        rules: Vec<AutoscaleRule>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            for rule in rules {
                let region = scope_word(rule.region.as_ref());
                let values = args![app.id.as_str(), rule.group.as_str(), region];
                if tx.execute(REMOVE, values)? > 0 {
                    let before = told(&rule.group, rule.region.as_ref(), rule.min, rule.max);
                    let subject = subject(&app);
                    append(
                        tx,
                        &by,
                        "autoscale.rule.remove",
                        &subject,
                        Some(&before),
                        NOTHING,
                    )?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The rules of one app, or of all, in the order of apps, groups and regions.
    pub async fn autoscale_rules(
        &self,
        app: Option<AppId>,
    ) -> Result<Vec<AutoscaleRule>, StoreError> {
        self.read(move |reader| {
            let rows = match app {
                None => reader.rows(&format!("{RULES}{IN_ORDER}"), &[])?,
                Some(app) => {
                    let sql = format!("{RULES} WHERE autoscale_rule.app_id = $1{IN_ORDER}");
                    reader.rows(&sql, args![app.as_str()])?
                }
            };
            rows.iter().map(rule).collect()
        })
        .await
    }

    /// Notes what a rule is about to do; true if it may: of one rule one change is under way.
    pub async fn begin_autoscale_change(
        &self,
        change: AutoscaleChange,
        by: By,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, change.app_id)?;
            let scope = scope_word(change.scope.as_ref());
            let of_rule = args![change.app_id.as_str(), change.group.as_str(), scope];
            if tx.row(UNDER_WAY, of_rule)?.is_some() {
                return Ok(false);
            }
            let values = args![
                change.machine_id.as_str(),
                change.app_id.as_str(),
                change.group.as_str(),
                scope,
                change.region.as_str(),
                change.action.as_str(),
                change.reason.as_str(),
                change.began_at,
            ];
            if tx.execute(BEGIN, values)? == 0 {
                return Ok(false);
            }
            let kind = match change.action {
                AutoscaleAction::Grow => "autoscale.grow",
                AutoscaleAction::Shrink => "autoscale.shrink",
            };
            note(tx, &by, kind, &app, &change, None)?;
            Ok(true)
        })
        .await
    }

    /// Every change that is under way, the oldest first.
    pub async fn autoscale_changes(&self) -> Result<Vec<AutoscaleChange>, StoreError> {
        self.read(|reader| reader.rows(CHANGES, &[])?.iter().map(change).collect())
            .await
    }

    /// The change is at its end; with a `problem` it came to nothing. Twice is once.
    pub async fn end_autoscale_change(
        &self,
        change: AutoscaleChange,
        problem: Option<String>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            if tx.execute(FORGET, args![change.machine_id.as_str()])? == 0 {
                return Ok(());
            }
            let (id, region) = (change.machine_id, &change.region);
            let said = match (change.action, &problem) {
                (AutoscaleAction::Grow, None) => format!("machine {id} made in {region}"),
                (AutoscaleAction::Shrink, None) => format!("machine {id} destroyed in {region}"),
                (AutoscaleAction::Grow, Some(why)) => {
                    format!("machine {id} not made in {region}: {why}")
                }
                (AutoscaleAction::Shrink, Some(why)) => {
                    format!("machine {id} not destroyed in {region}: {why}")
                }
            };
            let sql = if problem.is_none() { DONE } else { FAILED };
            let values = args![
                change.app_id.as_str(),
                change.group.as_str(),
                scope_word(change.scope.as_ref()),
                by.at,
                format!("{said} ({})", change.reason),
            ];
            tx.execute(sql, values)?;
            let app = app::by_id(tx, change.app_id)?;
            let kind = match (change.action, &problem) {
                (_, Some(_)) => "autoscale.failed",
                (AutoscaleAction::Grow, None) => "autoscale.grown",
                (AutoscaleAction::Shrink, None) => "autoscale.shrunk",
            };
            note(tx, &by, kind, &app, &change, problem)
        })
        .await
    }
}

/// What belongs to an app that is deleted.
pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM autoscale_rule WHERE app_id = $1",
        args![app.as_str()],
    )?;
    tx.execute(
        "DELETE FROM autoscale_change WHERE app_id = $1",
        args![app.as_str()],
    )?;
    Ok(())
}

fn note(
    tx: &mut Tx<'_>,
    by: &By,
    kind: &'static str,
    app: &App,
    change: &AutoscaleChange,
    problem: Option<String>,
) -> Result<(), StoreError> {
    let mut after = json!({
        "group": change.group,
        "region": change.region,
        "machine": change.machine_id,
        "reason": change.reason,
    });
    if let Some(problem) = problem {
        after["problem"] = Value::from(problem);
    }
    let subject = Subject {
        machine: Some(change.machine_id),
        ..subject(app)
    };
    append(tx, by, kind, &subject, NOTHING, Some(&after))
}

/// A rule as the event log has it.
fn told(group: &str, region: Option<&Region>, min: usize, max: usize) -> Value {
    json!({"group": group, "region": region, "min": min, "max": max})
}

fn subject(app: &App) -> Subject {
    Subject::app(app.org_id, app.id, &app.name)
}

/// A rule's region as it is stored.
fn scope_word(region: Option<&Region>) -> &str {
    region.map_or("", Region::as_str)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn scope(row: &Row, column: &'static str) -> Result<Option<Region>, StoreError> {
    let code: String = row.get(column)?;
    match code.is_empty() {
        true => Ok(None),
        false => Ok(Some(row.parse(column)?)),
    }
}

fn rule(row: &Row) -> Result<AutoscaleRule, StoreError> {
    let number = |column| -> Result<usize, StoreError> {
        let number: i64 = row.get(column)?;
        Ok(usize::try_from(number).unwrap_or_default())
    };
    Ok(AutoscaleRule {
        app_id: row.parse("app_id")?,
        app_name: row.parse("app_name")?,
        group: row.get("process_group")?,
        region: scope(row, "region")?,
        min: number("min_machines")?,
        max: number("max_machines")?,
        changed_at: row.get("changed_at")?,
        last_change: row.get("last_change")?,
        failures: u32::try_from(number("failures")?).unwrap_or(u32::MAX),
    })
}

fn change(row: &Row) -> Result<AutoscaleChange, StoreError> {
    Ok(AutoscaleChange {
        machine_id: row.parse("machine_id")?,
        app_id: row.parse("app_id")?,
        group: row.get("process_group")?,
        scope: scope(row, "scope")?,
        region: row.parse("region")?,
        action: row.parse("action")?,
        reason: row.get("reason")?,
        began_at: row.get("began_at")?,
    })
}
