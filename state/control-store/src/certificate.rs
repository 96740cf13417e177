//! Certificates with their sealed keys. A key is opened by whoever holds the sealing key; this crate never is.

use std::fmt;
use std::str::FromStr;

use mayfly_db::{Reader, Row, Tx, Value, args};
use mayfly_types::{AppId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::organization::words;
use crate::{App, By, ControlStore, StoreError, app};

words!(
    /// Where a certificate is from.
    CertificateSource {
        /// Obtained by the platform.
        Fly = "fly",
        /// Brought by the user.
        Custom = "custom",
    }
);

/// A certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// `None` for the platform's own.
    pub app_id: Option<AppId>,
    pub hostname: String,
    pub source: CertificateSource,
    /// `local`, the address of an ACME directory, or empty for what was imported.
    pub authority: String,
    pub chain: String,
    pub sealed_key: Vec<u8>,
    pub names: Vec<String>,
    pub issuer: String,
    pub serial: String,
    pub key_type: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub created_at: Timestamp,
    /// How many warnings of its end were given.
    pub warned: u32,
}

/// A certificate to be kept in the place of the one of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    pub source: CertificateSource,
    pub authority: String,
    pub chain: String,
    pub sealed_key: Vec<u8>,
    pub names: Vec<String>,
    pub issuer: String,
    pub serial: String,
    pub key_type: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

const OF: &str = "SELECT * FROM certificate WHERE app_id = $1 AND hostname = $2 ORDER BY source";

/// Those a visitor may get: of names an app has, and the platform's own.
const SERVED: &str = "
    SELECT certificate.* FROM certificate
     WHERE (certificate.app_id = ''
            OR EXISTS (SELECT 1 FROM hostname
                        WHERE hostname.app_id = certificate.app_id
                          AND hostname.name = certificate.hostname AND hostname.holder = 1))";

const PUT: &str = "
    INSERT INTO certificate (app_id, hostname, source, authority, chain, sealed_key, names, issuer, serial, key_type,
                             not_before, not_after, created_at, warned)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0)
    ON CONFLICT (app_id, hostname, source) DO UPDATE SET
        authority = excluded.authority, chain = excluded.chain, sealed_key = excluded.sealed_key,
        names = excluded.names, issuer = excluded.issuer, serial = excluded.serial, key_type = excluded.key_type,
        not_before = excluded.not_before, not_after = excluded.not_after, created_at = excluded.created_at,
        warned = 0";

const DELETE: &str = "
    DELETE FROM certificate WHERE app_id = $1 AND hostname = $2 AND source = $3";

const SET_WARNED: &str = "
    UPDATE certificate SET warned = $4 WHERE app_id = $1 AND hostname = $2 AND source = $3";

impl ControlStore {
    /// Certificates of names that their apps have, and the platform's own; only those of `apps` if they are named,
    /// where `None` is the platform.
    pub async fn served_certificates(
        &self,
        apps: Option<Vec<Option<AppId>>>,
    ) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(move |reader| {
            let Some(apps) = apps else {
                let rows = reader.rows(SERVED, &[])?;
                return rows.iter().map(from_row).collect();
            };
            let mut found = Vec::new();
            for some in apps.chunks(500) {
                let places: Vec<String> =
                    (1..=some.len()).map(|place| format!("${place}")).collect();
                let values: Vec<Value> = some.iter().map(|app| owner(*app).into()).collect();
                let sql = format!("{SERVED} AND certificate.app_id IN ({})", places.join(", "));
                for row in &reader.rows(&sql, &values)? {
                    found.push(from_row(row)?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// The certificates of one name.
    pub async fn certificates_of(
        &self,
        app: Option<AppId>,
        hostname: String,
    ) -> Result<Vec<StoredCertificate>, StoreError> {
        self.read(move |reader| of(reader, app, &hostname)).await
    }

    /// Keeps a certificate that was obtained; the order by which it came is over.
    ///
    /// # Errors
    /// `NotFound` if the app is gone, or no longer asks for the name.
    pub async fn issue_certificate(
        &self,
        app: Option<AppId>,
        hostname: String,
        certificate: NewCertificate,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app.map(|app| app::by_id(tx, app)).transpose()?;
            if let Some(app) = &app {
                let name = hostname
                    .parse()
                    .map_err(|_| StoreError::not_found("hostname", &hostname))?;
                if !crate::hostname::one(tx, app.id, &name)?.acme {
                    return Err(StoreError::not_found("hostname", &hostname));
                }
            }
            put(
                tx,
                app.as_ref(),
                &hostname,
                &certificate,
                "certificate.issue",
                &by,
            )?;
            let key = args![owner(app.map(|app| app.id)), hostname.as_str()];
            tx.execute(
                "DELETE FROM acme_order WHERE app_id = $1 AND hostname = $2",
                key,
            )?;
            Ok(())
        })
        .await
    }

    /// Writes into the log what happened to a certificate without changing it: `certificate.fail`,
    /// `certificate.expiring`, `certificate.expired`.
    pub async fn note_certificate(
        &self,
        app: Option<AppId>,
        kind: &'static str,
        note: serde_json::Value,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app.map(|app| app::by_id(tx, app)).transpose()?;
            append(tx, &by, kind, &subject(app.as_ref()), NOTHING, Some(&note))
        })
        .await
    }

    /// Remembers how many warnings of a certificate's end were given.
    pub async fn set_certificate_warned(
        &self,
        app: Option<AppId>,
        hostname: String,
        source: CertificateSource,
        warned: u32,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let values = args![owner(app), hostname.as_str(), source.as_str(), warned];
            tx.execute(SET_WARNED, values)?;
            Ok(())
        })
        .await
    }
}

/// The column's text for an owner.
pub(crate) fn owner(app: Option<AppId>) -> String {
    app.map(|app| app.to_string()).unwrap_or_default()
}

pub(crate) fn subject(app: Option<&App>) -> Subject {
    app.map_or_else(Subject::default, |app| {
        Subject::app(app.org_id, app.id, &app.name)
    })
}

pub(crate) fn of(
    reader: &mut Reader<'_>,
    app: Option<AppId>,
    hostname: &str,
) -> Result<Vec<StoredCertificate>, StoreError> {
    let rows = reader.rows(OF, args![owner(app), hostname])?;
    rows.iter().map(from_row).collect()
}

pub(crate) fn put(
    tx: &mut Tx<'_>,
    app: Option<&App>,
    hostname: &str,
    new: &NewCertificate,
    kind: &'static str,
    by: &By,
) -> Result<(), StoreError> {
    let id = app.map(|app| app.id);
    let before = of(tx, id, hostname)?;
    let before = before
        .iter()
        .find(|certificate| certificate.source == new.source);
    let values = args![
        owner(id),
        hostname,
        new.source.as_str(),
        new.authority.as_str(),
        new.chain.as_str(),
        new.sealed_key.as_slice(),
        serde_json::to_string(&new.names).expect("texts are JSON"),
        new.issuer.as_str(),
        new.serial.as_str(),
        new.key_type.as_str(),
        new.not_before,
        new.not_after,
        by.at,
    ];
    tx.execute(PUT, values)?;
    let before =
        before.map(|before| described(hostname, new.source, &before.serial, before.not_after));
    let after = described(hostname, new.source, &new.serial, new.not_after);
    append(tx, by, kind, &subject(app), before.as_ref(), Some(&after))
}

/// True if there was one.
pub(crate) fn forget(
    tx: &mut Tx<'_>,
    app: Option<&App>,
    hostname: &str,
    source: CertificateSource,
    by: &By,
) -> Result<bool, StoreError> {
    let id = app.map(|app| app.id);
    let known = of(tx, id, hostname)?;
    let Some(known) = known
        .iter()
        .find(|certificate| certificate.source == source)
    else {
        return Ok(false);
    };
    tx.execute(DELETE, args![owner(id), hostname, source.as_str()])?;
    let before = described(hostname, source, &known.serial, known.not_after);
    append(
        tx,
        by,
        "certificate.delete",
        &subject(app),
        Some(&before),
        NOTHING,
    )?;
    Ok(true)
}

fn described(
    hostname: &str,
    source: CertificateSource,
    serial: &str,
    not_after: Timestamp,
) -> serde_json::Value {
    json!({
        "hostname": hostname,
        "source": source.as_str(),
        "serial": serial,
        "expires_at": not_after,
    })
}

fn from_row(row: &Row) -> Result<StoredCertificate, StoreError> {
    let app: String = row.get("app_id")?;
    let names: serde_json::Value = row.parse("names")?;
    let names = names.as_array().into_iter().flatten();
    Ok(StoredCertificate {
        app_id: if app.is_empty() {
            None
        } else {
            Some(row.parse("app_id")?)
        },
        hostname: row.get("hostname")?,
        source: row.parse("source")?,
        authority: row.get("authority")?,
        chain: row.get("chain")?,
        sealed_key: row.get("sealed_key")?,
        names: names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        issuer: row.get("issuer")?,
        serial: row.get("serial")?,
        key_type: row.get("key_type")?,
        not_before: row.get("not_before")?,
        not_after: row.get("not_after")?,
        created_at: row.get("created_at")?,
        warned: row.get("warned")?,
    })
}
