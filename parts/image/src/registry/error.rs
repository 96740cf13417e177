use std::time::Duration;

use mayfly_net::{HttpError, StatusCode};
use mayfly_types::{Digest, ErrorKind};

use crate::manifest::InvalidManifest;

/// Why a registry did not give what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("ask {registry} for {what}")]
    Exchange {
        registry: String,
        what: String,
        #[source]
        source: HttpError,
    },
    #[error("{registry} has no {what}{}", said(.message))]
    Missing {
        registry: String,
        what: String,
        message: String,
    },
    #[error("{registry} does not give {what} to {}{}", who(.login), said(.message))]
    Denied {
        registry: String,
        what: String,
        login: Option<String>,
        message: String,
    },
    #[error("{registry} answered {status} when asked for {what}{}", said(.message))]
    Status {
        registry: String,
        what: String,
        status: StatusCode,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("{registry} asks for a login in a way that is not supported: {reason}")]
    Challenge {
        registry: String,
        reason: &'static str,
    },
    #[error("{registry} gave a {what} with digest {found}")]
    Digest {
        registry: String,
        what: String,
        found: Digest,
    },
    #[error("{registry} gave {found} bytes of {what}, which has {stated}")]
    Size {
        registry: String,
        what: String,
        stated: u64,
        found: u64,
    },
    #[error("{registry} gave a {what} that cannot be used")]
    Document {
        registry: String,
        what: String,
        #[source]
        source: InvalidManifest,
    },
    #[error("{registry} broke off {what} {tries} times")]
    GaveUp {
        registry: String,
        what: String,
        tries: u32,
        #[source]
        source: Box<RegistryError>,
    },
    #[error("keep {what} on disk")]
    Disk {
        what: String,
        #[source]
        source: std::io::Error,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" (it says: {message})")
    }
}

fn who(login: &Option<String>) -> String {
    match login {
        Some(user) => format!("user `{user}`"),
        None => "anybody without a login".to_owned(),
    }
}

impl RegistryError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            RegistryError::Exchange { source, .. } => source.kind(),
            RegistryError::Missing { .. } => ErrorKind::NotFound,
            RegistryError::Denied { .. } => ErrorKind::Denied,
            RegistryError::Status { status, .. } if is_passing(*status) => ErrorKind::Unavailable,
            RegistryError::GaveUp { source, .. } => source.kind(),
            RegistryError::Disk { source, .. } => crate::error::disk_kind(source),
            RegistryError::Size { stated, found, .. } if found < stated => ErrorKind::Unavailable,
            RegistryError::Status { .. }
            | RegistryError::Challenge { .. }
            | RegistryError::Digest { .. }
            | RegistryError::Size { .. }
            | RegistryError::Document { .. } => ErrorKind::Invalid,
        }
    }

    /// How long the registry asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}
