use mayfly_db::{Tx, args};
use mayfly_types::{AppId, Hostname, Timestamp};
use serde_json::json;

use super::{CustomHostname, holder, one};
use crate::certificate::{CertificateSource, NewCertificate, forget, put};
use crate::event::{NOTHING, Subject, append};
use crate::{App, By, ControlStore, StoreError, app};

/// How far the way to a certificate has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub next_at: Timestamp,
    pub attempts: u32,
    pub limited_until: Option<Timestamp>,
    pub failure: Option<serde_json::Value>,
}

const INSERT: &str = "
    INSERT INTO hostname (app_id, name, org_id, acme, holder, created_at, updated_at, next_at, attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $6, $6, 0)
    ON CONFLICT (app_id, name) DO NOTHING";

const WANT_ACME: &str = "
    UPDATE hostname SET acme = $3, updated_at = $4, next_at = $4, attempts = 0, failure = NULL
     WHERE app_id = $1 AND name = $2 AND acme <> $3";

const DELETE: &str = "DELETE FROM hostname WHERE app_id = $1 AND name = $2";

const SET_FINDINGS: &str = "
    UPDATE hostname SET findings = $3, checked_at = $4 WHERE app_id = $1 AND name = $2";

const SET_HOLDER: &str = "
    UPDATE hostname SET holder = $3, updated_at = $4, next_at = $4 WHERE app_id = $1 AND name = $2";

const SET_PROGRESS: &str = "
    UPDATE hostname SET next_at = $3, attempts = $4, limited_until = $5, failure = $6
     WHERE app_id = $1 AND name = $2";

const WAKE: &str = "UPDATE hostname SET next_at = $3 WHERE app_id = $1 AND name = $2";

const DELETE_ORDER: &str = "DELETE FROM acme_order WHERE app_id = $1 AND hostname = $2";

/// Everything of an app that is deleted.
const FORGET_APP: [&str; 3] = [
    "DELETE FROM acme_order WHERE app_id = $1",
    "DELETE FROM certificate WHERE app_id = $1",
    "DELETE FROM hostname WHERE app_id = $1",
];

impl ControlStore {
    /// Gives an app a name for which a certificate is to be obtained. The app has it at once unless somebody else has
    /// it, or has a wildcard that holds it; then it must be proved first. Again for the same name changes nothing.
    pub async fn add_hostname(
        &self,
        app: AppId,
        name: Hostname,
        by: By,
    ) -> Result<CustomHostname, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            insert(tx, &app, &name, true, &by)?;
            if tx.execute(
                WANT_ACME,
                args![app.id.as_str(), name.as_str(), true, by.at],
            )? > 0
            {
                let after = json!({ "hostname": name, "acme": true });
                append(
                    tx,
                    &by,
                    "hostname.update",
                    &subject(&app),
                    NOTHING,
                    Some(&after),
                )?;
            }
            one(tx, app.id, &name)
        })
        .await
    }

    /// Keeps a certificate that the user brought, and the name it is for.
    pub async fn import_certificate(
        &self,
        app: AppId,
        name: Hostname,
        certificate: NewCertificate,
        by: By,
    ) -> Result<CustomHostname, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            insert(tx, &app, &name, false, &by)?;
            put(
                tx,
                Some(&app),
                name.as_str(),
                &certificate,
                "certificate.import",
                &by,
            )?;
            one(tx, app.id, &name)
        })
        .await
    }

    /// Takes a name with everything that belongs to it from an app.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_hostname(
        &self,
        app: AppId,
        name: Hostname,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            let before = one(tx, app.id, &name)?;
            for certificate in &before.certificates {
                forget(tx, Some(&app), name.as_str(), certificate.source, &by)?;
            }
            tx.execute(DELETE_ORDER, args![app.id.as_str(), name.as_str()])?;
            tx.execute(DELETE, args![app.id.as_str(), name.as_str()])?;
            let before = json!({ "hostname": name, "acme": before.acme, "holder": before.holder });
            append(
                tx,
                &by,
                "hostname.delete",
                &subject(&app),
                Some(&before),
                NOTHING,
            )
        })
        .await
    }

    /// Takes one certificate away; of the platform's own kind none is obtained any more.
    ///
    /// # Errors
    /// `NotFound` for the name, or if there is nothing of this source.
    pub async fn remove_certificate(
        &self,
        app: AppId,
        name: Hostname,
        source: CertificateSource,
        by: By,
    ) -> Result<CustomHostname, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            one(tx, app.id, &name)?;
            let mut removed = forget(tx, Some(&app), name.as_str(), source, &by)?;
            if source == CertificateSource::Fly {
                let of_name = args![app.id.as_str(), name.as_str()];
                tx.execute(DELETE_ORDER, of_name)?;
                let values = args![app.id.as_str(), name.as_str(), false, by.at];
                if tx.execute(WANT_ACME, values)? > 0 {
                    removed = true;
                    let after = json!({ "hostname": name, "acme": false });
                    append(
                        tx,
                        &by,
                        "hostname.update",
                        &subject(&app),
                        NOTHING,
                        Some(&after),
                    )?;
                }
            }
            if !removed {
                let what = format!("{source} certificate of {name}");
                return Err(StoreError::not_found("certificate", what));
            }
            one(tx, app.id, &name)
        })
        .await
    }

    /// Keeps what DNS said. With `proven` the app takes the name over from whoever has it.
    pub async fn record_findings(
        &self,
        app: AppId,
        name: Hostname,
        findings: serde_json::Value,
        proven: bool,
        by: By,
    ) -> Result<CustomHostname, StoreError> {
        self.write(move |tx| {
            let app = app::by_id(tx, app)?;
            let known = one(tx, app.id, &name)?;
            let values = args![app.id.as_str(), name.as_str(), findings.to_string(), by.at];
            tx.execute(SET_FINDINGS, values)?;
            let other = holder(tx, name.as_str())?;
            // A name nobody has any more needs no proof, unless a stranger's wildcard holds it.
            let free = other.is_none() && !is_foreign_below(tx, &name, &app)?;
            if !known.holder && (proven || free) {
                if let Some(other) = other {
                    let loser = app::by_id(tx, other.app_id)?;
                    set_holder(tx, &loser, &name, false, &by)?;
                }
                set_holder(tx, &app, &name, true, &by)?;
            }
            one(tx, app.id, &name)
        })
        .await
    }

    /// Not an event: it says when to look again, and why nothing came of the last look.
    pub async fn set_hostname_progress(
        &self,
        app: AppId,
        name: Hostname,
        progress: Progress,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let values = args![
                app.as_str(),
                name.as_str(),
                progress.next_at,
                progress.attempts,
                progress.limited_until,
                progress.failure.map(|failure| failure.to_string()),
            ];
            tx.execute(SET_PROGRESS, values)?;
            Ok(())
        })
        .await
    }

    /// Has the name looked at without waiting for its time.
    pub async fn wake_hostname(
        &self,
        app: AppId,
        name: Hostname,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(WAKE, args![app.as_str(), name.as_str(), now])?;
            Ok(())
        })
        .await
    }
}

/// Takes away the names and certificates of an app that is being deleted.
pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    for statement in FORGET_APP {
        tx.execute(statement, args![app.as_str()])?;
    }
    Ok(())
}

fn subject(app: &App) -> Subject {
    Subject::app(app.org_id, app.id, &app.name)
}

fn insert(
    tx: &mut Tx<'_>,
    app: &App,
    name: &Hostname,
    acme: bool,
    by: &By,
) -> Result<(), StoreError> {
    let free = holder(tx, name.as_str())?.is_none() && !is_foreign_below(tx, name, app)?;
    let values = args![
        app.id.as_str(),
        name.as_str(),
        app.org_id.as_str(),
        acme,
        free,
        by.at,
    ];
    if tx.execute(INSERT, values)? > 0 {
        let after = json!({ "hostname": name, "acme": acme, "holder": free });
        append(
            tx,
            by,
            "hostname.create",
            &subject(app),
            NOTHING,
            Some(&after),
        )?;
    }
    Ok(())
}

/// Whether another organization has a wildcard that holds `name`: whoever proved `*.example.com` must not lose
/// `shop.example.com` to the first who asks.
fn is_foreign_below(tx: &mut Tx<'_>, name: &Hostname, app: &App) -> Result<bool, StoreError> {
    let Some(wildcard) = name.covering_wildcard() else {
        return Ok(false);
    };
    let above = holder(tx, wildcard.as_str())?;
    Ok(above.is_some_and(|above| above.org_id != app.org_id))
}

fn set_holder(
    tx: &mut Tx<'_>,
    app: &App,
    name: &Hostname,
    holder: bool,
    by: &By,
) -> Result<(), StoreError> {
    let values = args![app.id.as_str(), name.as_str(), holder, by.at];
    tx.execute(SET_HOLDER, values)?;
    let before = json!({ "hostname": name, "holder": !holder });
    let after = json!({ "hostname": name, "holder": holder });
    append(
        tx,
        by,
        "hostname.update",
        &subject(app),
        Some(&before),
        Some(&after),
    )
}
