//! The keys by which organizations vouch for those who may enter their machines.

use mayfly_db::{Row, args};
use mayfly_edge_api::SshAuthority;
use mayfly_types::{MachineId, OrgId, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError, machine};

/// An organization's authority with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSshAuthority {
    pub org_id: OrgId,
    /// As in an `authorized_keys` file.
    pub public_key: String,
    pub sealed_key: Vec<u8>,
    pub created_at: Timestamp,
}

/// A certificate that was issued, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    pub org_id: OrgId,
    pub serial: u64,
    pub principals: Vec<String>,
    /// Empty: every app of the organization.
    pub apps: Vec<String>,
    /// Of the key it is for.
    pub fingerprint: String,
    pub valid_until: Timestamp,
}

const ALL: &str = "SELECT * FROM ssh_authority ORDER BY org_id";

const OF_ORG: &str = "SELECT * FROM ssh_authority WHERE org_id = $1";

const INSERT: &str = "
    INSERT INTO ssh_authority (org_id, public_key, sealed_key, created_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

impl ControlStore {
    /// Who may be believed in machines of which organization.
    pub async fn ssh_authorities(&self) -> Result<Vec<SshAuthority>, StoreError> {
        self.read(|reader| {
            let rows = reader.rows(ALL, &[])?;
            let authorities = rows.iter().map(|row| {
                Ok(SshAuthority {
                    org_id: row.parse("org_id")?,
                    public_key: row.get("public_key")?,
                })
            });
            authorities.collect()
        })
        .await
    }

    pub async fn ssh_authority(
        &self,
        org: OrgId,
    ) -> Result<Option<StoredSshAuthority>, StoreError> {
        self.read(move |reader| {
            let row = reader.row(OF_ORG, args![org.as_str()])?;
            row.as_ref().map(from_row).transpose()
        })
        .await
    }

    /// Gives an organization its authority, unless it has one; returns the one it has then.
    pub async fn put_ssh_authority(
        &self,
        new: StoredSshAuthority,
        by: By,
    ) -> Result<StoredSshAuthority, StoreError> {
        self.write(move |tx| {
            let org = new.org_id;
            let values = args![
                org.as_str(),
                new.public_key.as_str(),
                new.sealed_key.as_slice(),
                new.created_at,
            ];
            if tx.execute(INSERT, values)? > 0 {
                let after = json!({ "public_key": new.public_key });
                append(
                    tx,
                    &by,
                    "ssh.authority",
                    &Subject::org(org),
                    NOTHING,
                    Some(&after),
                )?;
            }
            let row = tx.row(OF_ORG, args![org.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("ssh authority", org))?)
        })
        .await
    }

    /// Notes in the log that a certificate was issued. It is kept nowhere else.
    pub async fn certificate_issued(
        &self,
        issued: IssuedCertificate,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let after = json!({
                "serial": issued.serial,
                "principals": issued.principals,
                "apps": issued.apps,
                "fingerprint": issued.fingerprint,
                "valid_until": issued.valid_until,
            });
            append(
                tx,
                &by,
                "ssh.certificate",
                &Subject::org(issued.org_id),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// Notes in the log that somebody began a session in a machine through the API.
    pub async fn session_began(
        &self,
        machine: MachineId,
        user: String,
        what: &'static str,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let machine = machine::by_id(tx, machine)?;
            let after = json!({ "user": user, "what": what, "through": "api" });
            append(
                tx,
                &by,
                "ssh.session",
                &machine.subject(),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }
}

fn from_row(row: &Row) -> Result<StoredSshAuthority, StoreError> {
    Ok(StoredSshAuthority {
        org_id: row.parse("org_id")?,
        public_key: row.get("public_key")?,
        sealed_key: row.get("sealed_key")?,
        created_at: row.get("created_at")?,
    })
}
