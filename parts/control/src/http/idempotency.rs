use std::time::Duration;

use http::HeaderMap;
use mayfly_control_store::IdempotencyKey;
use mayfly_types::Digest;

use crate::cloud::Cloud;
use crate::error::ApiError;

const KEY_KEPT: Duration = Duration::from_secs(24 * 3600);
const KEY_MAX: usize = 255;

/// The caller's own name for a request, from the `Idempotency-Key` header or else the body. `caller` keeps the keys of
/// different callers and purposes apart, `request` tells another request under the same key.
///
/// # Errors
/// A key that is no text or too long.
pub(crate) fn idempotency_key(
    cloud: &Cloud,
    caller: String,
    headers: &HeaderMap,
    in_body: Option<&str>,
    request: Digest,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let header = headers
        .get("idempotency-key")
        .map(|key| key.to_str())
        .transpose()
        .map_err(|_| ApiError::unreadable("the Idempotency-Key header is not text"))?;
    let Some(key) = header.or(in_body).filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    if key.len() > KEY_MAX {
        return Err(ApiError::invalid(format!(
            "idempotency_key must have at most {KEY_MAX} characters"
        )));
    }
    Ok(Some(IdempotencyKey {
        caller,
        key: key.to_owned(),
        request,
        expires_at: cloud.now() + KEY_KEPT,
    }))
}
