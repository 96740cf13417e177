use mayfly_db::{Row, Tx, args};
use mayfly_types::{MachineId, Timestamp};
use serde_json::json;

use super::{Machine, by_id, living};
use crate::event::{NOTHING, append};
use crate::{By, ControlStore, StoreError};

/// A user's exclusive, expiring right to change one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who knows it holds the lease.
    pub nonce: String,
    pub owner: String,
    pub description: Option<String>,
    pub expires_at: Timestamp,
}

/// A lease to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLease {
    /// Fresh and random.
    pub nonce: String,
    pub owner: String,
    pub description: Option<String>,
    pub expires_at: Timestamp,
}

/// Takes the lease if it is free at $6, or extends it for the holder of the nonce $7, who keeps that nonce.
const TAKE: &str = "
    UPDATE machine
       SET lease_nonce = CASE WHEN lease_nonce = $7 AND lease_expires_at > $6 THEN lease_nonce ELSE $2 END,
           lease_owner = $3, lease_description = COALESCE($4, CASE WHEN lease_nonce = $7 THEN lease_description END),
           lease_expires_at = $5, generation = generation + 1
     WHERE id = $1 AND destroyed_at IS NULL
       AND (lease_nonce IS NULL OR lease_expires_at <= $6 OR lease_nonce = $7)
    RETURNING lease_nonce, lease_owner, lease_description, lease_expires_at";

const RELEASE: &str = "
    UPDATE machine
       SET lease_nonce = NULL, lease_owner = NULL, lease_description = NULL, lease_expires_at = NULL,
           generation = generation + 1
     WHERE id = $1 AND lease_nonce = $2 AND lease_expires_at > $3
    RETURNING generation";

impl ControlStore {
    /// Takes the lease of a machine. With the `nonce` of the lease that holds, its expiry and description are renewed
    /// and the nonce stays.
    ///
    /// # Errors
    /// `Leased` while somebody else holds it; `NotFound`; `Destroyed`.
    pub async fn take_lease(
        &self,
        machine: MachineId,
        lease: NewLease,
        nonce: Option<String>,
        by: By,
    ) -> Result<(Lease, Machine), StoreError> {
        self.write(move |tx| {
            let lease = take(tx, machine, lease, nonce.as_deref(), &by)?;
            Ok((lease, by_id(tx, machine)?))
        })
        .await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// `NoLease` if no lease with this nonce holds; `NotFound` for the machine.
    pub async fn release_lease(
        &self,
        machine: MachineId,
        nonce: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let machine = by_id(tx, machine)?;
            let values = args![machine.id.as_str(), nonce.as_str(), by.at];
            if tx.row(RELEASE, values)?.is_none() {
                return match machine.check_lease(Some(&nonce), by.at) {
                    Err(leased) => Err(leased),
                    Ok(()) => Err(StoreError::NoLease),
                };
            }
            let subject = machine.subject();
            let owner = machine.lease.map(|lease| lease.owner);
            let before = json!({ "owner": owner });
            append(
                tx,
                &by,
                "machine.lease.release",
                &subject,
                Some(&before),
                NOTHING,
            )
        })
        .await
    }
}

pub(super) fn take(
    tx: &mut Tx<'_>,
    machine: MachineId,
    new: NewLease,
    nonce: Option<&str>,
    by: &By,
) -> Result<Lease, StoreError> {
    let values = args![
        machine.as_str(),
        new.nonce.as_str(),
        new.owner.as_str(),
        new.description.as_deref(),
        new.expires_at,
        by.at,
        nonce,
    ];
    let Some(row) = tx.row(TAKE, values)? else {
        living(tx, machine)?.check_lease(None, by.at)?;
        return Err(StoreError::NoLease);
    };
    let lease = from_row(&row)?.ok_or(StoreError::NoLease)?;
    // A renewal is not news; deployments make one every few seconds.
    if nonce != Some(lease.nonce.as_str()) {
        let after = json!({
            "owner": lease.owner,
            "description": lease.description,
            "expires_at": lease.expires_at,
        });
        let subject = by_id(tx, machine)?.subject();
        append(
            tx,
            by,
            "machine.lease.take",
            &subject,
            NOTHING,
            Some(&after),
        )?;
    }
    Ok(lease)
}

pub(super) fn from_row(row: &Row) -> Result<Option<Lease>, StoreError> {
    let Some(nonce) = row.get("lease_nonce")? else {
        return Ok(None);
    };
    Ok(Some(Lease {
        nonce,
        owner: row.get("lease_owner")?,
        description: row.get("lease_description")?,
        expires_at: row.get("lease_expires_at")?,
    }))
}
