use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use mayfly_runtime::report;
use serde_json::json;
use tracing::{error, warn};

use crate::RegistryError;

const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Most clients send the user name and password only to those who ask in this form.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mayfly\"");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// Adds a header whose text is made of checked parts.
pub(super) fn set(response: &mut Response, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let status = self.status();
        let message = match &self {
            Self::Disk { .. } => {
                error!(error = report(&self), "the registry's disk fails");
                "the request could not be completed because of an internal error".to_owned()
            }
            Self::Access(_) => {
                error!(
                    error = report(&self),
                    "the registry cannot ask who may enter"
                );
                "nobody can say now who may enter: try again".to_owned()
            }
            Self::StorageAway(_) => {
                warn!(error = report(&self), "the registry's bucket is away");
                self.to_string()
            }
            // What its registry said is the caller's to know.
            Self::NotAtOrigin { .. } => report(&self),
            other => other.to_string(),
        };
        let body = json!({"errors": [{"code": self.code(), "message": message}]});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(VERSION, HeaderValue::from_static("registry/2.0"));
        match &self {
            Self::NoToken | Self::Stranger => {
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            Self::Busy(_) | Self::Access(_) | Self::StorageAway(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Range { length } => {
                set(
                    &mut response,
                    header::CONTENT_RANGE,
                    format!("bytes */{length}"),
                );
            }
            Self::OutOfOrder { length } => {
                set(&mut response, header::RANGE, super::uploads::range(*length));
            }
            _ => {}
        }
        response
    }
}
