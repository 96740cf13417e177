//! When apps go by themselves.

use mayfly_db::{Tx, args};
use mayfly_types::{AppId, Timestamp};
use serde_json::json;

use crate::event::{Subject, append};
use crate::{App, By, ControlStore, StoreError, app};

const SET: &str = "
    INSERT INTO app_expiry (app_id, expires_at) VALUES ($1, $2)
    ON CONFLICT (app_id) DO UPDATE SET expires_at = excluded.expires_at";

const FORGET: &str = "DELETE FROM app_expiry WHERE app_id = $1";

const DUE: &str = "
    SELECT app_expiry.app_id FROM app_expiry JOIN app ON app.id = app_expiry.app_id
     WHERE app.deleted_at IS NULL AND app_expiry.expires_at <= $1
     ORDER BY app_expiry.expires_at";

impl ControlStore {
    /// Says until when an app stays; `None`: for good.
    ///
    /// # Errors
    /// `NotFound` for the app.
    pub async fn set_app_expiry(
        &self,
        id: AppId,
        expires_at: Option<Timestamp>,
        by: By,
    ) -> Result<App, StoreError> {
        self.write(move |tx| {
            let before = app::by_id(tx, id)?;
            if before.expires_at == expires_at {
                return Ok(before);
            }
            set(tx, id, expires_at)?;
            append(
                tx,
                &by,
                "app.update",
                &Subject::app(before.org_id, id, &before.name),
                Some(&json!({ "expires_at": before.expires_at })),
                Some(&json!({ "expires_at": expires_at })),
            )?;
            app::by_id(tx, id)
        })
        .await
    }

    /// Apps whose time is over, the longest first.
    pub async fn expired_apps(&self, now: Timestamp) -> Result<Vec<AppId>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(DUE, args![now])?;
            rows.iter().map(|row| Ok(row.parse("app_id")?)).collect()
        })
        .await
    }
}

pub(crate) fn set(
    tx: &mut Tx<'_>,
    id: AppId,
    expires_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    match expires_at {
        Some(at) => tx.execute(SET, args![id.as_str(), at])?,
        None => tx.execute(FORGET, args![id.as_str()])?,
    };
    Ok(())
}
