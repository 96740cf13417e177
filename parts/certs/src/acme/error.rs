use mayfly_types::{ErrorKind, Timestamp};

use super::Method;
use crate::authority::AuthorityError;

/// Why a step with the authority was not made.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("the authority's limit is reached; it takes no more before {until}: {detail}")]
    RateLimited { until: Timestamp, detail: String },
    /// The order or the account is not known (any more).
    #[error("the authority does not know what it was asked about: {detail}")]
    Gone { detail: String },
    #[error("the authority refused: {detail}")]
    Refused {
        /// The last part of the problem's type, such as `caa` or `rejectedIdentifier`.
        problem: String,
        detail: String,
    },
    #[error("the authority does not take {} for {hostname}", .method.as_str())]
    NotOffered { hostname: String, method: Method },
    #[error("the authority cannot be reached or does not answer as ACME wants it: {0}")]
    Unavailable(String),
    #[error("the stored credentials of the ACME account cannot be read")]
    Credentials,
    #[error("the key of the external account is not base64url")]
    ExternalKey,
    #[error("make a certificate request")]
    Request(#[from] AuthorityError),
}

impl AcmeError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            AcmeError::RateLimited { .. } => ErrorKind::Exhausted,
            AcmeError::Gone { .. } => ErrorKind::NotFound,
            AcmeError::Refused { .. } | AcmeError::NotOffered { .. } | AcmeError::ExternalKey => {
                ErrorKind::Invalid
            }
            AcmeError::Unavailable(_) => ErrorKind::Unavailable,
            AcmeError::Credentials | AcmeError::Request(_) => ErrorKind::Internal,
        }
    }
}
