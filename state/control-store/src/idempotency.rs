use std::fmt::Display;
use std::str::FromStr;

use mayfly_db::{Tx, args};
use mayfly_types::{Digest, Timestamp};

use crate::StoreError;

/// A caller's own name for a request, so that repeating the request makes one machine or app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Keys of different callers never meet.
    pub caller: String,
    pub key: String,
    /// SHA-256 of the request; the same key with another request is a mistake.
    pub request: Digest,
    /// Until when the key is remembered.
    pub expires_at: Timestamp,
}

/// `machine_id` holds the id of what was made, also of an app: the caller's text keeps them apart.
const FIND: &str = "
    SELECT request_digest, machine_id FROM idempotency
     WHERE caller = $1 AND key = $2 AND expires_at > $3";

const PUT: &str = "
    INSERT INTO idempotency (caller, key, request_digest, machine_id, expires_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (caller, key) DO UPDATE
       SET request_digest = excluded.request_digest, machine_id = excluded.machine_id,
           expires_at = excluded.expires_at";

/// What this request has made before.
///
/// # Errors
/// `KeyReused` if the key stands for another request.
pub(crate) fn find<I>(
    tx: &mut Tx<'_>,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<I>, StoreError>
where
    I: FromStr,
    I::Err: Display,
{
    let Some(row) = tx.row(FIND, args![key.caller.as_str(), key.key.as_str(), now])? else {
        return Ok(None);
    };
    if row.parse::<Digest>("request_digest")? != key.request {
        return Err(StoreError::KeyReused(key.key.clone()));
    }
    Ok(Some(row.parse("machine_id")?))
}

/// Remembers that this request made `made`.
pub(crate) fn remember(
    tx: &mut Tx<'_>,
    key: &IdempotencyKey,
    made: &str,
) -> Result<(), StoreError> {
    tx.execute(
        PUT,
        args![
            key.caller.as_str(),
            key.key.as_str(),
            key.request.to_string(),
            made,
            key.expires_at,
        ],
    )?;
    Ok(())
}
