use mayfly_machine::MachineState;
use mayfly_types::{ErrorKind, MachineId};

/// Why a host does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("machine {0} is not on this host")]
    UnknownMachine(MachineId),
    #[error("refused")]
    Refused(#[from] Refusal),
    #[error("{action}")]
    Failed {
        action: String,
        kind: ErrorKind,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A request that the machine's phase or the host's capacity forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("machine is {state}, which does not allow this; it must be {wanted}")]
    NotIn {
        state: MachineState,
        wanted: &'static str,
    },
    #[error("machine is replacing: concurrent update in progress")]
    UpdateInProgress,
    #[error("could not reserve resource for machine: {0}")]
    NoCapacity(String),
    #[error("{0}")]
    Unsupported(String),
}

impl HostError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            HostError::UnknownMachine(_) => ErrorKind::NotFound,
            HostError::Refused(Refusal::NoCapacity(_)) => ErrorKind::Exhausted,
            HostError::Refused(Refusal::Unsupported(_)) => ErrorKind::Invalid,
            HostError::Refused(_) => ErrorKind::Conflict,
            HostError::Failed { kind, .. } => *kind,
        }
    }
}
