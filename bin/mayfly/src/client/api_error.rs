//! Why a call to the cloud brought nothing, and what to do about it.

use std::time::Duration;

use mayfly_net::header::{HeaderName, RETRY_AFTER};
use mayfly_net::{HttpError, Response};
use serde_json::Value;

use crate::program;

/// Refusals are sentences; a longer body is not one of ours.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("reach the cloud at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: HttpError,
    },
    #[error("{message}{}", request_note(.request_id))]
    Refused {
        status: u16,
        /// The server's machine-readable word for the reason, such as `insufficient_capacity`.
        code: Option<String>,
        message: String,
        request_id: Option<String>,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    #[error("Could not find App \"{app}\"")]
    NoSuchApp { app: String },
    #[error("read the answer of {url}: it is not JSON")]
    NotJson {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("read the answer of {call}: {what}")]
    Unexpected { call: String, what: &'static str },
}

fn request_note(request_id: &Option<String>) -> String {
    request_id
        .as_ref()
        .map_or_else(String::new, |id| format!(" (request {id})"))
}

impl ApiError {
    pub(super) fn transport(url: &str, source: HttpError) -> Self {
        let base = url.split_once("/v1").map_or(url, |(base, _)| base);
        Self::Unreachable {
            url: base.trim_end_matches("/api").to_owned(),
            source,
        }
    }

    pub(super) async fn refusal(answer: Response) -> Self {
        let status = answer.status();
        let request_id = answer
            .header(HeaderName::from_static("fly-request-id"))
            .map(str::to_owned);
        let retry_after = answer
            .header(RETRY_AFTER)
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let body = answer.bytes(REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let text = |key: &str| {
            said.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let raw = String::from_utf8_lossy(&body).trim().to_owned();
        let message = text("message")
            .or_else(|| text("error"))
            .or_else(|| Some(raw).filter(|raw| !raw.is_empty() && said.is_null()))
            .unwrap_or_else(|| status.to_string());
        Self::Refused {
            status: status.as_u16(),
            code: text("status"),
            // Only what we cannot explain needs the operator's log.
            request_id: request_id.filter(|_| status.is_server_error()),
            message,
            retry_after,
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            ApiError::Refused { status, .. } => Some(*status),
            ApiError::NoSuchApp { .. } => Some(404),
            _ => None,
        }
    }

    /// Whether the server asked to come back: nothing was done.
    pub(super) fn is_worth_repeating(&self) -> bool {
        matches!(self.status(), Some(429 | 502 | 503))
    }

    /// Whether a later call may be answered: the cloud was not reached, or had no time.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, ApiError::Unreachable { .. }) || self.is_worth_repeating()
    }

    /// How long to wait before the call is made again, if the server limits how often it is asked.
    pub(super) fn limited_for(&self) -> Option<Duration> {
        match self {
            ApiError::Refused {
                status: 429,
                retry_after,
                ..
            } => Some(retry_after.unwrap_or(Duration::from_secs(1))),
            _ => None,
        }
    }

    /// Whether the cloud could not be reached, or broke off.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, ApiError::Unreachable { .. })
    }

    /// A 404 of a call on an app, as the sentence people search for.
    pub(super) fn about_app(self, app: &str) -> Self {
        if self.status() == Some(404) {
            return ApiError::NoSuchApp {
                app: app.to_owned(),
            };
        }
        self
    }

    pub(crate) fn remedy(&self) -> Option<String> {
        let name = program::name();
        match self {
            ApiError::Unreachable { url, .. } if is_local(url) => Some(
                "Nothing answers there. Start the cloud on this server with `mayfly up`, or set FLY_FLAPS_BASE_URL to \
                 the address of another."
                    .to_owned(),
            ),
            ApiError::Unreachable { .. } => Some(
                "Check the address in FLY_FLAPS_BASE_URL or ~/.mayfly/config.yml, and that the server is up."
                    .to_owned(),
            ),
            ApiError::NoSuchApp { .. } => Some(format!(
                "See the apps you have with `{name} apps list`, or create one with `{name} apps create`."
            )),
            ApiError::Refused { status: 401, .. } => Some(format!(
                "The token was not accepted. Sign in with `{name} auth login`, or set FLY_API_TOKEN."
            )),
            ApiError::Refused { status: 403, .. } => Some(format!(
                "This token may not do that. See whose it is with `{name} auth whoami`."
            )),
            ApiError::Refused { status: 409, message, .. } if is_about_leases(message) => Some(format!(
                "Somebody else is changing this machine. See who with `{name} machine leases view`; a stuck lease goes \
                 with `{name} machine leases clear`."
            )),
            ApiError::Refused { code: Some(code), .. } if code == "insufficient_capacity" => Some(format!(
                "Try a smaller size or another region: `{name} platform regions`."
            )),
            ApiError::Refused { status: 429, .. } => {
                Some("The cloud is asked too much at once. Try again in a moment.".to_owned())
            }
            _ => None,
        }
    }
}

/// Not every word with these letters in it: there are releases.
fn is_about_leases(message: &str) -> bool {
    let mut words = message.split(|character: char| !character.is_alphabetic());
    words.any(|word| word.starts_with("lease"))
}

fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local))
}
