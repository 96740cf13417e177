//! Releases: what an app was to become, numbered, and how far each came.

use std::fmt;
use std::str::FromStr;

use mayfly_db::{Reader, Row, Tx, args};
use mayfly_types::{AppId, AppName, ImageRef, OrgId, ReleaseId, Timestamp};
use serde_json::{Value, json};

use crate::event::{NOTHING, Subject, append};
use crate::organization::words;
use crate::{By, ControlStore, StoreError, app, release_count};

words!(
    /// What has become of a release.
    ReleaseStatus {
        /// Waits for the one before it.
        Queued = "queued",
        Running = "running",
        Complete = "complete",
        Failed = "failed",
        Cancelled = "cancelled",
        /// A later release was asked for before this one began.
        Superseded = "superseded",
    }
);

/// One recorded deployment of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub id: ReleaseId,
    pub app_id: AppId,
    pub app_name: AppName,
    pub org_id: OrgId,
    /// From 1, without gaps.
    pub number: i64,
    pub status: ReleaseStatus,
    /// Of the deployment's own words; empty before it began.
    pub stage: String,
    pub config: Option<Value>,
    pub image: Option<ImageRef>,
    pub secrets_version: i64,
    /// How to go about it; the shape is the deployment's.
    pub options: Value,
    pub description: String,
    /// Who asked for it, for people.
    pub owner: String,
    /// Who asked for it, as the event log says it.
    pub actor: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub failure: Option<String>,
}

impl Release {
    pub fn is_open(&self) -> bool {
        matches!(self.status, ReleaseStatus::Queued | ReleaseStatus::Running)
    }

    fn subject(&self) -> Subject {
        Subject::app(self.org_id, self.app_id, &self.app_name)
    }
}

/// A release to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRelease {
    pub id: ReleaseId,
    pub app_id: AppId,
    pub config: Option<Value>,
    pub image: Option<ImageRef>,
    pub secrets_version: i64,
    pub options: Value,
    pub description: String,
    pub owner: String,
}

const SELECT: &str = "
    SELECT release.*, app.name AS app_name, app.org_id AS org_id
      FROM release JOIN app ON app.id = release.app_id";

const NEXT: &str = "SELECT COALESCE(MAX(number), 0) + 1 AS number FROM release WHERE app_id = $1";

const INSERT: &str = "
    INSERT INTO release
        (id, app_id, number, status, stage, config, image, secrets_version, options, description, owner,
         actor, created_at)
    VALUES ($1, $2, $3, 'queued', '', $4, $5, $6, $7, $8, $9, $10, $11)";

const FINISH: &str = "
    UPDATE release SET status = $2, failure = $3, finished_at = $4 WHERE id = $1";

const BEGIN: &str = "
    UPDATE release SET status = 'running', stage = $2, started_at = $3 WHERE id = $1";

const INHERIT: &str = "
    UPDATE release SET (config, image) = (
        SELECT before.config, before.image FROM release AS before
         WHERE before.app_id = release.app_id AND before.status = 'complete' AND before.number < release.number
         ORDER BY before.number DESC LIMIT 1)
     WHERE id = $1 AND status = 'queued' AND EXISTS (
        SELECT 1 FROM release AS before
         WHERE before.app_id = release.app_id AND before.status = 'complete' AND before.number < release.number)";

const SET_CONFIG: &str = "UPDATE release SET config = $2 WHERE id = $1 AND status = 'queued'";

const FORGET: &str = "DELETE FROM release WHERE app_id = $1";

const SET_STAGE: &str = "UPDATE release SET stage = $2 WHERE id = $1";

impl ControlStore {
    /// Records a release. Those that still wait for their turn and whose wish it contains are superseded.
    ///
    /// # Errors
    /// `NotFound` for the app.
    pub async fn create_release(
        &self,
        new: NewRelease,
        contains: impl Fn(&Release) -> bool + Send + 'static,
        by: By,
    ) -> Result<Release, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, new.app_id)?;
            let row = tx.row(NEXT, args![app.id.as_str()])?;
            let number: i64 = row.expect("an aggregate is one row").get("number")?;
            let waiting =
                format!("{SELECT} WHERE release.app_id = $1 AND release.status = 'queued'");
            for row in tx.rows(&waiting, args![app.id.as_str()])? {
                let older = from_row(&row)?;
                if contains(&older) {
                    let why = format!("v{number} was asked for before it began, and contains it");
                    finish(tx, &older, ReleaseStatus::Superseded, Some(why), &by)?;
                }
            }
            tx.execute(
                INSERT,
                args![
                    new.id.as_str(),
                    app.id.as_str(),
                    number,
                    new.config.as_ref().map(Value::to_string),
                    new.image.as_ref().map(ImageRef::to_string),
                    new.secrets_version,
                    new.options.to_string(),
                    new.description.as_str(),
                    new.owner.as_str(),
                    by.actor.as_str(),
                    by.at
                ],
            )?;
            let release = by_id(tx, new.id)?;
            let after = json!({
                "id": release.id,
                "version": release.number,
                "image": release.image,
                "secrets_version": release.secrets_version,
                "description": release.description,
            });
            append(
                tx,
                &by,
                "release.create",
                &release.subject(),
                NOTHING,
                Some(&after),
            )?;
            Ok(release)
        })
        .await
    }

    /// An app's releases, newest first.
    pub async fn releases(&self, app: AppId, limit: u32) -> Result<Vec<Release>, StoreError> {
        self.read(move |reader| {
            let sql =
                format!("{SELECT} WHERE release.app_id = $1 ORDER BY release.number DESC LIMIT $2");
            let rows = reader.rows(&sql, args![app.as_str(), limit])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn release(&self, app: AppId, number: i64) -> Result<Release, StoreError> {
        self.read(move |reader| {
            let sql = format!("{SELECT} WHERE release.app_id = $1 AND release.number = $2");
            let row = reader.row(&sql, args![app.as_str(), number])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("release", format!("v{number}")))?)
        })
        .await
    }

    /// The newest release of an app that is live, if `before` is given of those before that number.
    pub async fn complete_release(
        &self,
        app: AppId,
        before: Option<i64>,
    ) -> Result<Option<Release>, StoreError> {
        self.read(move |reader| {
            let sql = format!(
                "{SELECT} WHERE release.app_id = $1 AND release.status = 'complete' AND release.number < $2
                  ORDER BY release.number DESC LIMIT 1"
            );
            let row = reader.row(&sql, args![app.as_str(), before.unwrap_or(i64::MAX)])?;
            row.as_ref().map(from_row).transpose()
        })
        .await
    }

    /// Releases that are not at their end, by app and number.
    pub async fn open_releases(&self) -> Result<Vec<Release>, StoreError> {
        self.read(|reader| {
            let sql = format!(
                "{SELECT} WHERE release.status IN ('queued', 'running') AND app.deleted_at IS NULL
                  ORDER BY release.app_id, release.number"
            );
            reader.rows(&sql, &[])?.iter().map(from_row).collect()
        })
        .await
    }

    /// The deployment of a release begins, or has come to its next stage.
    pub async fn set_release_stage(
        &self,
        id: ReleaseId,
        stage: String,
        by: By,
    ) -> Result<Release, StoreError> {
        self.write(move |tx| set_stage(tx, id, stage, &by)).await
    }

    /// Gives a release that waits for its turn the image and configuration of the newest complete one before it: those of
    /// its making may have been replaced meanwhile.
    pub async fn inherit_content(&self, id: ReleaseId) -> Result<Release, StoreError> {
        self.write(move |tx| {
            tx.execute(INHERIT, args![id.as_str()])?;
            by_id(tx, id)
        })
        .await
    }

    /// Gives a release that waits for its turn another configuration; one that has begun keeps its own.
    pub async fn set_release_config(&self, id: ReleaseId, config: Value) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(SET_CONFIG, args![id.as_str(), config.to_string()])?;
            Ok(())
        })
        .await
    }

    /// Notes something that was done for a release, for people who follow it.
    pub async fn note_release(
        &self,
        id: ReleaseId,
        message: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let release = by_id(tx, id)?;
            let after = json!({ "version": release.number, "message": message });
            append(
                tx,
                &by,
                "release.step",
                &release.subject(),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// A release has come to its end. One that is at its end already stays as it is.
    pub async fn finish_release(
        &self,
        id: ReleaseId,
        status: ReleaseStatus,
        failure: Option<String>,
        by: By,
    ) -> Result<Release, StoreError> {
        self.write(move |tx| {
            let release = by_id(tx, id)?;
            if release.is_open() {
                finish(tx, &release, status, failure, &by)?;
            }
            by_id(tx, id)
        })
        .await
    }
}

/// Removes the releases of a deleted app; what became of them is in the event log.
pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    release_count::forget_app(tx, app)?;
    tx.execute(FORGET, args![app.as_str()])?;
    Ok(())
}

fn finish(
    tx: &mut Tx<'_>,
    release: &Release,
    status: ReleaseStatus,
    failure: Option<String>,
    by: &By,
) -> Result<(), StoreError> {
    let values = args![
        release.id.as_str(),
        status.as_str(),
        failure.as_deref(),
        by.at
    ];
    tx.execute(FINISH, values)?;
    let before = json!({ "status": release.status.as_str() });
    let after = json!({
        "version": release.number,
        "status": status.as_str(),
        "failure": failure,
    });
    append(
        tx,
        by,
        "release.finish",
        &release.subject(),
        Some(&before),
        Some(&after),
    )
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: ReleaseId) -> Result<Release, StoreError> {
    let row = reader.row(
        &format!("{SELECT} WHERE release.id = $1"),
        args![id.as_str()],
    )?;
    from_row(&row.ok_or_else(|| StoreError::not_found("release", id))?)
}

pub(crate) fn set_stage(
    tx: &mut Tx<'_>,
    id: ReleaseId,
    stage: String,
    by: &By,
) -> Result<Release, StoreError> {
    let before = by_id(tx, id)?;
    match before.status {
        ReleaseStatus::Queued => tx.execute(BEGIN, args![id.as_str(), stage, by.at])?,
        ReleaseStatus::Running => tx.execute(SET_STAGE, args![id.as_str(), stage])?,
        _ => return Ok(before),
    };
    let release = by_id(tx, id)?;
    let after = json!({ "version": release.number, "stage": release.stage });
    append(
        tx,
        by,
        "release.stage",
        &release.subject(),
        NOTHING,
        Some(&after),
    )?;
    Ok(release)
}

fn from_row(row: &Row) -> Result<Release, StoreError> {
    Ok(Release {
        id: row.parse("id")?,
        app_id: row.parse("app_id")?,
        app_name: row.parse("app_name")?,
        org_id: row.parse("org_id")?,
        number: row.get("number")?,
        status: row.parse("status")?,
        stage: row.get("stage")?,
        config: row.parse_opt("config")?,
        image: row.parse_opt("image")?,
        secrets_version: row.get("secrets_version")?,
        options: row.parse("options")?,
        description: row.get("description")?,
        owner: row.get("owner")?,
        actor: row.get("actor")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        failure: row.get("failure")?,
    })
}
