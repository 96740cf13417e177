use std::io;

use http::StatusCode;
use mayfly_types::Digest;

use crate::remote::is_away;
use crate::{AccessError, OriginError};

/// Why a request is not granted. What callers are told is in [`RegistryError::code`] and the text.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("this registry has no repository or page at {0}")]
    UnknownPath(String),
    #[error("repository {0} is not here, or not open to this token")]
    UnknownName(String),
    #[error("{0}")]
    InvalidName(String),
    #[error("{0} is not possible here")]
    Method(http::Method),
    #[error("a token is required: give it as the password, with any user name")]
    NoToken,
    #[error("the token is not known, has expired or was revoked")]
    Stranger,
    #[error("this token only reads here")]
    ReadsOnly,
    #[error(
        "this is a mirror of {0} and is read only: `mayfly image import` gives the cloud images under such names"
    )]
    Mirror(String),
    #[error("{image}: its registry does not give it")]
    NotAtOrigin {
        image: String,
        #[source]
        source: OriginError,
    },
    #[error("blob {0} is not in this repository")]
    UnknownBlob(Digest),
    #[error("manifest {0} is not in this repository")]
    UnknownManifest(String),
    #[error("the manifest needs {0}, which is not in this repository: push that first")]
    MissingBlob(Digest),
    #[error("{0}")]
    InvalidManifest(String),
    #[error("{0}")]
    InvalidDigest(String),
    #[error("the content has digest {found}, not {stated}")]
    OtherDigest { stated: Digest, found: Digest },
    #[error("upload {0} is not known: it has ended, or was given up")]
    UnknownUpload(String),
    #[error("another request is writing to this upload")]
    UploadBusy,
    #[error("the body ended before it was complete; {length} bytes of the upload are here")]
    CutOff { length: u64 },
    #[error("the next byte of this upload is {length}")]
    OutOfOrder { length: u64 },
    #[error("{0}")]
    InvalidUpload(String),
    #[error("{what} is longer than {bytes_max} bytes")]
    TooLarge { what: &'static str, bytes_max: u64 },
    #[error("the content has {length} bytes; the range begins after its end")]
    Range { length: u64 },
    #[error("{0}")]
    Refused(String),
    #[error("a machine or release of this cloud needs {0}")]
    InUse(Digest),
    #[error("busy: {0} requests are being served")]
    Busy(usize),
    #[error(
        "the images of this app have {used} bytes, and {bytes_max} is the most: delete tags that are not needed any more"
    )]
    Quota { used: u64, bytes_max: u64 },
    #[error("the registry's disk is full")]
    DiskFull,
    #[error("the registry's object storage is away")]
    StorageAway(#[source] io::Error),
    #[error("{action}")]
    Disk {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl RegistryError {
    pub(crate) fn disk(action: &'static str) -> impl FnOnce(io::Error) -> RegistryError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RegistryError::DiskFull,
            _ if is_away(&source) => RegistryError::StorageAway(source),
            _ => RegistryError::Disk { action, source },
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath(_)
            | Self::UnknownName(_)
            | Self::UnknownBlob(_)
            | Self::UnknownManifest(_)
            | Self::UnknownUpload(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoToken | Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::ReadsOnly | Self::Refused(_) | Self::Quota { .. } => StatusCode::FORBIDDEN,
            Self::Mirror(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAtOrigin { source, .. } => match source {
                OriginError::Unknown(_) => StatusCode::NOT_FOUND,
                OriginError::Away(_) => StatusCode::BAD_GATEWAY,
            },
            Self::InvalidName(_)
            | Self::MissingBlob(_)
            | Self::InvalidManifest(_)
            | Self::InvalidDigest(_)
            | Self::OtherDigest { .. }
            | Self::CutOff { .. }
            | Self::InvalidUpload(_) => StatusCode::BAD_REQUEST,
            Self::UploadBusy | Self::InUse(_) => StatusCode::CONFLICT,
            Self::OutOfOrder { .. } | Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy(_) | Self::Access(_) | Self::StorageAway(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The protocol's word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownPath(_) | Self::UnknownName(_) => "NAME_UNKNOWN",
            Self::InvalidName(_) => "NAME_INVALID",
            Self::Method(_) | Self::Mirror(_) => "UNSUPPORTED",
            Self::NoToken | Self::Stranger => "UNAUTHORIZED",
            Self::ReadsOnly | Self::Refused(_) | Self::InUse(_) | Self::Quota { .. } => "DENIED",
            Self::NotAtOrigin { .. } => "MANIFEST_UNKNOWN",
            Self::UnknownBlob(_) => "BLOB_UNKNOWN",
            Self::UnknownManifest(_) => "MANIFEST_UNKNOWN",
            Self::MissingBlob(_) => "MANIFEST_BLOB_UNKNOWN",
            Self::InvalidManifest(_) => "MANIFEST_INVALID",
            Self::InvalidDigest(_) | Self::OtherDigest { .. } => "DIGEST_INVALID",
            Self::UnknownUpload(_) => "BLOB_UPLOAD_UNKNOWN",
            Self::UploadBusy
            | Self::CutOff { .. }
            | Self::OutOfOrder { .. }
            | Self::InvalidUpload(_) => "BLOB_UPLOAD_INVALID",
            Self::TooLarge { .. } | Self::Range { .. } => "SIZE_INVALID",
            Self::Busy(_) => "TOOMANYREQUESTS",
            Self::DiskFull | Self::Disk { .. } | Self::StorageAway(_) | Self::Access(_) => {
                "UNKNOWN"
            }
        }
    }
}
