//! Accounts with authorities, and orders under way.

use mayfly_db::{Row, args};
use mayfly_types::{AppId, Timestamp};
use serde_json::json;

use crate::certificate::{owner, subject};
use crate::event::{NOTHING, append};
use crate::{By, ControlStore, StoreError, app};

/// An order for a certificate that the authority has taken and not yet fulfilled.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingOrder {
    /// `None` for the platform's own certificate.
    pub app_id: Option<AppId>,
    pub hostname: String,
    pub directory_url: String,
    /// Where the authority tells of the order.
    pub url: String,
    /// How the name is proved.
    pub method: String,
    /// The key of the certificate to come.
    pub sealed_key: Vec<u8>,
    /// What is shown to the authority; `None` before it was asked what it wants to see. Its shape is the keeper's.
    pub proofs: Option<serde_json::Value>,
    pub created_at: Timestamp,
}

const PUT_ACCOUNT: &str = "
    INSERT INTO acme_account (directory_url, sealed_credentials, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (directory_url) DO UPDATE SET
        sealed_credentials = excluded.sealed_credentials, created_at = excluded.created_at";

const ACCOUNT: &str = "SELECT sealed_credentials FROM acme_account WHERE directory_url = $1";

const ORDER: &str = "SELECT * FROM acme_order WHERE app_id = $1 AND hostname = $2";

const SHOWN: &str = "SELECT * FROM acme_order WHERE proofs IS NOT NULL";

const PUT_ORDER: &str = "
    INSERT INTO acme_order (app_id, hostname, directory_url, url, method, sealed_key, proofs, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (app_id, hostname) DO UPDATE SET
        directory_url = excluded.directory_url, url = excluded.url, method = excluded.method,
        sealed_key = excluded.sealed_key, proofs = excluded.proofs, created_at = excluded.created_at";

const SET_PROOFS: &str = "UPDATE acme_order SET proofs = $3 WHERE app_id = $1 AND hostname = $2";

const DELETE_ORDER: &str = "DELETE FROM acme_order WHERE app_id = $1 AND hostname = $2";

impl ControlStore {
    /// The sealed credentials of the account with an authority.
    pub async fn acme_account(&self, directory_url: String) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |reader| {
            let row = reader.row(ACCOUNT, args![directory_url.as_str()])?;
            Ok(row.map(|row| row.get("sealed_credentials")).transpose()?)
        })
        .await
    }

    pub async fn put_acme_account(
        &self,
        directory_url: String,
        sealed_credentials: Vec<u8>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let values = args![directory_url.as_str(), sealed_credentials.as_slice(), by.at];
            tx.execute(PUT_ACCOUNT, values)?;
            let after = json!({ "directory_url": directory_url });
            append(
                tx,
                &by,
                "acme.account",
                &subject(None),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    pub async fn acme_order(
        &self,
        app: Option<AppId>,
        hostname: String,
    ) -> Result<Option<PendingOrder>, StoreError> {
        self.read(move |reader| {
            let row = reader.row(ORDER, args![owner(app), hostname.as_str()])?;
            row.as_ref().map(from_row).transpose()
        })
        .await
    }

    /// Orders whose proofs are to be shown.
    pub async fn shown_orders(&self) -> Result<Vec<PendingOrder>, StoreError> {
        self.read(|reader| reader.rows(SHOWN, &[])?.iter().map(from_row).collect())
            .await
    }

    /// Keeps an order the authority has just taken, in the place of an earlier one.
    pub async fn put_acme_order(&self, order: PendingOrder) -> Result<(), StoreError> {
        self.write(move |tx| {
            let values = args![
                owner(order.app_id),
                order.hostname.as_str(),
                order.directory_url.as_str(),
                order.url.as_str(),
                order.method.as_str(),
                order.sealed_key.as_slice(),
                order.proofs.as_ref().map(ToString::to_string),
                order.created_at,
            ];
            tx.execute(PUT_ORDER, values)?;
            Ok(())
        })
        .await
    }

    /// Has the proofs of an order shown.
    pub async fn show_proofs(
        &self,
        app: Option<AppId>,
        hostname: String,
        proofs: serde_json::Value,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app.map(|app| app::by_id(tx, app)).transpose()?;
            let key = owner(app.as_ref().map(|app| app.id));
            tx.execute(
                SET_PROOFS,
                args![key.as_str(), hostname.as_str(), proofs.to_string()],
            )?;
            let order = tx.row(ORDER, args![key.as_str(), hostname.as_str()])?;
            let method: Option<String> = order.map(|order| order.get("method")).transpose()?;
            let after = json!({ "hostname": hostname, "method": method });
            append(
                tx,
                &by,
                "certificate.challenge",
                &subject(app.as_ref()),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// Forgets an order that is not wanted any more.
    pub async fn delete_acme_order(
        &self,
        app: Option<AppId>,
        hostname: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(DELETE_ORDER, args![owner(app), hostname.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Gives an order up; the log says why.
    pub async fn drop_acme_order(
        &self,
        app: Option<AppId>,
        hostname: String,
        reason: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let app = app.map(|app| app::by_id(tx, app)).transpose()?;
            let key = owner(app.as_ref().map(|app| app.id));
            tx.execute(DELETE_ORDER, args![key, hostname.as_str()])?;
            let after = json!({ "hostname": hostname, "reason": reason });
            append(
                tx,
                &by,
                "certificate.fail",
                &subject(app.as_ref()),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }
}

fn from_row(row: &Row) -> Result<PendingOrder, StoreError> {
    let app: String = row.get("app_id")?;
    Ok(PendingOrder {
        app_id: if app.is_empty() {
            None
        } else {
            Some(row.parse("app_id")?)
        },
        hostname: row.get("hostname")?,
        directory_url: row.get("directory_url")?,
        url: row.get("url")?,
        method: row.get("method")?,
        sealed_key: row.get("sealed_key")?,
        proofs: row.parse_opt("proofs")?,
        created_at: row.get("created_at")?,
    })
}
