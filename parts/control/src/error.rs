use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use mayfly_control_store::StoreError;
use mayfly_host_api::{HostError, Refusal};
use mayfly_runtime::report;
use mayfly_types::ErrorKind;
use mayfly_wire::{ErrorBody, InvalidBody, InvalidConfig};
use tracing::{error, warn};

/// Another machine has the volume.
pub(crate) const VOLUME_IN_USE: &str = "volume_in_use";

/// What a caller is told when a request is not granted: status, text, and a word for programs where clients know one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    text: String,
    code: Option<&'static str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            code: None,
            header: None,
        }
    }

    /// 400: the request cannot be read.
    pub(crate) fn unreadable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 403: known, and not for this caller.
    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 404: not there, or not to be seen by the caller.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 409: not now.
    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// 422: read, and against a rule.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    pub(crate) fn unauthorized(text: impl Into<String>) -> Self {
        Self {
            header: Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"mayfly\""),
            )),
            ..Self::new(StatusCode::UNAUTHORIZED, text)
        }
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request could not be completed because of an internal error",
        )
    }

    /// The word clients look for in `status`.
    pub(crate) fn coded(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(crate) fn is_coded(&self, code: &str) -> bool {
        self.code == Some(code)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the same request would be refused again: it is the request that is wrong.
    pub(crate) fn is_final(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::CONFLICT
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self {
            header: Some((header::RETRY_AFTER, HeaderValue::from(seconds))),
            ..self
        }
    }

    pub(crate) fn store_is_away() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the control store is away: machines and traffic go on, but nothing can be looked up or changed until it is back",
        )
        .coded("store_unavailable")
        .retry_after(1)
    }

    /// An error of one of our parts. Its text is for callers only if it is about their request.
    pub(crate) fn of_part(kind: ErrorKind, error: &(dyn std::error::Error + 'static)) -> Self {
        let text = report(error);
        match kind {
            ErrorKind::NotFound => Self::not_found(text),
            ErrorKind::Conflict => Self::conflict(text),
            ErrorKind::Invalid => Self::invalid(text),
            ErrorKind::Denied => Self::new(StatusCode::FORBIDDEN, text),
            ErrorKind::Exhausted => Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                .coded("insufficient_capacity")
                .retry_after(5),
            ErrorKind::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(1)
            }
            ErrorKind::Internal => {
                error!(error = text, "request failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.text,
            status: self.code.map(str::to_owned),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

impl From<InvalidBody> for ApiError {
    fn from(error: InvalidBody) -> Self {
        Self::unreadable(error.to_string())
    }
}

impl From<InvalidConfig> for ApiError {
    fn from(error: InvalidConfig) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        match &error {
            HostError::Refused(refusal @ (Refusal::NoCapacity(_) | Refusal::NoSpace(_))) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
                    .coded("insufficient_capacity")
            }
            HostError::Refused(refusal @ (Refusal::Unsupported(_) | Refusal::Shrinks { .. })) => {
                Self::invalid(refusal.to_string())
            }
            HostError::Refused(refusal) => Self::conflict(refusal.to_string()),
            HostError::UnknownMachine(machine) => {
                Self::conflict(format!("machine {machine} is not on its host yet"))
            }
            HostError::UnknownVolume(volume) => {
                Self::conflict(format!("volume {volume} is not on its host yet"))
            }
            HostError::Failed { kind, .. } => Self::of_part(*kind, &error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotFound { .. } | StoreError::NoLease => Self::not_found(error.to_string()),
            StoreError::Taken { .. }
            | StoreError::NotEmpty { .. }
            | StoreError::Full { .. }
            | StoreError::KeyReused(_) => Self::invalid(error.to_string()),
            StoreError::OverBudget { .. } => Self::invalid(error.to_string()).coded("budget"),
            StoreError::Personal(_) => Self::invalid(error.to_string()),
            StoreError::HostNotEmpty { .. } | StoreError::OrgNotEmpty { .. } => {
                Self::conflict(error.to_string())
            }
            StoreError::HostRemoved(_) => Self::of_part(error.kind(), &error),
            StoreError::VersionMoved { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, error.to_string())
            }
            StoreError::Leased { .. } | StoreError::Destroyed(_) | StoreError::LastAdmin => {
                Self::conflict(error.to_string())
            }
            StoreError::Db(db) if db.kind() == ErrorKind::Unavailable => {
                warn!(error = report(&error), "the control store does not answer");
                Self::store_is_away()
            }
            StoreError::VolumeInUse { .. } => {
                Self::conflict(error.to_string()).coded(VOLUME_IN_USE)
            }
            StoreError::VolumeNotReady { .. } => Self::conflict(error.to_string()),
            StoreError::VolumeElsewhere { .. } | StoreError::VolumeShrinks { .. } => {
                Self::invalid(error.to_string())
            }
            StoreError::NoAddress | StoreError::Db(_) => Self::of_part(error.kind(), &error),
        }
    }
}
