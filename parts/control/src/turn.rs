use mayfly_control_store::StoreError;
use mayfly_host_api::HostError;

/// Why a turn of a loop could not be finished; the next turn tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("ask the host")]
    Host(#[from] HostError),
}
