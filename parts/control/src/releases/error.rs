use mayfly_control_store::StoreError;
use mayfly_host_api::HostError;

use super::content::ContentError;
use crate::error::ApiError;

/// Why a step could not be taken; it is taken again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("ask a host")]
    Host(#[from] HostError),
    #[error("make a machine's configuration")]
    Content(#[from] ContentError),
    /// Refused for good: trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Later(String),
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        match error.is_final() {
            true => StepError::Refused(error.text().to_owned()),
            false => StepError::Later(error.text().to_owned()),
        }
    }
}
