use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::StatusCode;
use mayfly_types::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;

/// Bytes of a JSON body. Configurations carry files as base64, so they can be large.
const JSON_MAX: usize = 8 << 20;

/// A JSON body, read as [`mayfly_wire::read`] does. The content type is not looked at: the documentation's own
/// examples send bodies without one.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body with a `config`, which is kept to the letter.
pub(crate) struct ConfigBody<T> {
    pub(crate) request: T,
    pub(crate) config: Option<Box<RawValue>>,
    /// SHA-256 of the whole body.
    pub(crate) digest: Digest,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = whole(request).await?;
        Ok(JsonBody(mayfly_wire::read(&body)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ConfigBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        #[derive(Default, Deserialize)]
        struct Letter {
            config: Option<Box<RawValue>>,
        }

        let body = whole(request).await?;
        let request = mayfly_wire::read(&body)?;
        let letter = if body.iter().all(u8::is_ascii_whitespace) {
            Letter::default()
        } else {
            serde_json::from_slice(&body)
                .map_err(|error| ApiError::unreadable(format!("the body is not JSON: {error}")))?
        };
        Ok(ConfigBody {
            request,
            config: letter.config,
            digest: Digest::from_sha256(Sha256::digest(&body).into()),
        })
    }
}

async fn whole(request: Request) -> Result<Bytes, ApiError> {
    let length = request.headers().get(http::header::CONTENT_LENGTH);
    let announced: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > JSON_MAX) {
        return Err(too_long());
    }
    // Cut off or too long without having said so: the difference is not told apart by the body.
    axum::body::to_bytes(request.into_body(), JSON_MAX)
        .await
        .map_err(|error| match error.to_string().contains("limit") {
            true => too_long(),
            false => ApiError::unreadable("the body ended before it was complete"),
        })
}

fn too_long() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is longer than {JSON_MAX} bytes"),
    )
}
