use std::borrow::Cow;

use mayfly_machine::MachineState;
use mayfly_types::{ErrorKind, HostId, MachineId, VolumeId};
use serde::{Deserialize, Serialize};

/// Why a host does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("machine {0} is not on this host")]
    UnknownMachine(MachineId),
    #[error("volume {0} is not on this host")]
    UnknownVolume(VolumeId),
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("machine is {state}, which does not allow this; it must be {wanted}")]
    NotIn {
        state: MachineState,
        wanted: Cow<'static, str>,
    },
    #[error("machine is replacing: concurrent update in progress")]
    UpdateInProgress,
    #[error("could not reserve resource for machine: {0}")]
    NoCapacity(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("volume {0} is not on this host: a machine runs where its volume is")]
    VolumeNotHere(VolumeId),
    #[error("volume {volume} is attached to machine {machine}")]
    VolumeInUse {
        volume: VolumeId,
        machine: MachineId,
    },
    #[error("volume {0} exists with another size or filesystem")]
    VolumeExists(VolumeId),
    #[error("volume {volume} has {size_gib} GB and cannot get smaller")]
    Shrinks { volume: VolumeId, size_gib: u32 },
    #[error("no room for the volume: {0}")]
    NoSpace(String),
}

impl HostError {
    /// The host of another server does not answer, or not in time.
    pub fn unreachable(
        host: HostId,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        HostError::Failed {
            action: format!("host {host} is not reachable now"),
            kind: ErrorKind::Unavailable,
            source: source.into(),
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            HostError::UnknownMachine(_) | HostError::UnknownVolume(_) => ErrorKind::NotFound,
            HostError::Refused(Refusal::NoCapacity(_) | Refusal::NoSpace(_)) => {
                ErrorKind::Exhausted
            }
            HostError::Refused(Refusal::Unsupported(_) | Refusal::Shrinks { .. }) => {
                ErrorKind::Invalid
            }
            HostError::Refused(_) => ErrorKind::Conflict,
            HostError::Failed { kind, .. } => *kind,
        }
    }
}
