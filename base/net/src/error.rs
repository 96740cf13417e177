use std::time::Duration;

use mayfly_types::ErrorKind;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a request brought no usable answer. An answer with a bad status is not an error here: see
/// [`crate::Response::status`].
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("`{url}` is not an http or https address")]
    InvalidUrl { url: String },
    #[error("build the request to {url}")]
    InvalidRequest {
        url: String,
        #[source]
        source: Source,
    },
    #[error("load certificate authorities from {origin}")]
    Authorities {
        origin: String,
        #[source]
        source: Source,
    },
    #[error("connect to {authority}")]
    Connect {
        authority: String,
        #[source]
        source: Source,
    },
    /// The name server knows no such name, or does not answer.
    #[error("find the address of {authority}")]
    Resolve {
        authority: String,
        #[source]
        source: Source,
    },
    #[error("no answer from {authority} within {limit:?}")]
    HeadTimeout { authority: String, limit: Duration },
    #[error("{authority} sent nothing for {limit:?} within its answer")]
    BodyTimeout { authority: String, limit: Duration },
    #[error("send a request to {authority}")]
    Send {
        authority: String,
        #[source]
        source: Source,
    },
    #[error("read the answer of {authority}")]
    ReadBody {
        authority: String,
        #[source]
        source: Source,
    },
    #[error("the answer of {authority} is longer than {limit} bytes")]
    TooLong { authority: String, limit: usize },
    #[error("the answer of {authority} is not the JSON expected of it")]
    Decode {
        authority: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{authority} redirects more than {most} times")]
    TooManyRedirects { authority: String, most: usize },
    #[error("{authority} redirects to `{location}`, which is not an http or https address")]
    BadRedirect { authority: String, location: String },
    #[error("{authority} did not switch protocols and answered {status}")]
    NotUpgraded {
        authority: String,
        status: http::StatusCode,
    },
}

impl HttpError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            HttpError::InvalidUrl { .. }
            | HttpError::InvalidRequest { .. }
            | HttpError::TooLong { .. }
            | HttpError::Decode { .. }
            | HttpError::TooManyRedirects { .. }
            | HttpError::BadRedirect { .. }
            | HttpError::NotUpgraded { .. } => ErrorKind::Invalid,
            HttpError::Authorities { .. } => ErrorKind::Internal,
            HttpError::Connect { .. }
            | HttpError::Resolve { .. }
            | HttpError::HeadTimeout { .. }
            | HttpError::BodyTimeout { .. }
            | HttpError::Send { .. }
            | HttpError::ReadBody { .. } => ErrorKind::Unavailable,
        }
    }
}
