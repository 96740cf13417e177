use async_trait::async_trait;
use mayfly_machine::MachineState;
use mayfly_types::{ErrorKind, HostId, MachineId};

/// Starts machines for requests and lets them rest. The answer comes when the host has taken the request down; what
/// became of it is seen in the catalog.
#[async_trait]
pub trait Waker: Send + Sync + 'static {
    /// Starts a stopped machine or thaws a suspended one; a started one stays as it is.
    async fn start(&self, host: HostId, machine: MachineId) -> Result<(), WakeError>;

    /// Asks the machine to end, by its own stop rule.
    async fn stop(&self, host: HostId, machine: MachineId) -> Result<(), WakeError>;

    /// Freezes the machine.
    async fn suspend(&self, host: HostId, machine: MachineId) -> Result<(), WakeError>;
}

/// Why a host did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WakeError {
    pub kind: ErrorKind,
    pub message: String,
}

/// Why a start came to nothing, with the code that people search for:
/// <https://fly.io/docs/monitoring/error-codes/>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WakeFailure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl WakeFailure {
    pub(crate) fn refused(error: &WakeError) -> WakeFailure {
        let code = match error.kind {
            ErrorKind::Conflict => "PM08",
            ErrorKind::NotFound => "PR02",
            ErrorKind::Unavailable => "PM02",
            _ => "PM01",
        };
        WakeFailure {
            code,
            message: error.message.clone(),
        }
    }

    pub(crate) fn timed_out() -> WakeFailure {
        WakeFailure {
            code: "PM03",
            message: "it did not start in time".to_owned(),
        }
    }

    pub(crate) fn ended(state: MachineState) -> WakeFailure {
        WakeFailure {
            code: "PM07",
            message: format!("it was started, but is {state} again"),
        }
    }
}
