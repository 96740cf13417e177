use std::path::PathBuf;

use mayfly_driver::DriverError;
use mayfly_host_api::{HostError, Refusal};
use mayfly_host_store::StoreError;
use mayfly_image::ImageError;
use mayfly_logs::LogError;
use mayfly_machine::MachineState;
use mayfly_ssh::KeyError;
use mayfly_types::{ErrorKind, MachineId, VolumeId};

/// Why a host could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("make directory {path}", path = path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("make ready for shells in machines")]
    Shells(#[source] KeyError),
    #[error("open the host's journal {path}", path = path.display())]
    Journal {
        path: PathBuf,
        #[source]
        source: StoreError,
    },
}

impl BuildError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            BuildError::Directory { .. } => ErrorKind::Internal,
            BuildError::Shells(source) => source.kind(),
            BuildError::Journal { source, .. } => source.kind(),
        }
    }
}

pub(crate) fn refused(refusal: mayfly_machine::Refusal) -> HostError {
    HostError::Refused(match refusal {
        mayfly_machine::Refusal::NotIn { state, wanted } => Refusal::NotIn {
            state,
            wanted: wanted.into(),
        },
        mayfly_machine::Refusal::UpdateInProgress => Refusal::UpdateInProgress,
    })
}

pub(crate) fn not_started(state: MachineState) -> HostError {
    HostError::Refused(Refusal::NotIn {
        state,
        wanted: "started".into(),
    })
}

pub(crate) fn journal(machine: MachineId, source: StoreError) -> HostError {
    HostError::Failed {
        action: format!("store machine {machine}"),
        kind: source.kind(),
        source: Box::new(source),
    }
}

pub(crate) fn store(action: &str, source: StoreError) -> HostError {
    HostError::Failed {
        action: action.to_owned(),
        kind: source.kind(),
        source: Box::new(source),
    }
}

pub(crate) fn volume(action: &str, volume: VolumeId, source: StoreError) -> HostError {
    store(&format!("{action} volume {volume}"), source)
}

/// What the driver could not do with a volume. A full disk and a program that is not installed are for people to read.
pub(crate) fn of_volume(source: DriverError) -> HostError {
    use std::io::ErrorKind as Io;
    let kind = source.kind();
    let DriverError::Host { action, source } = source else {
        let action = "use a volume".to_owned();
        let source = Box::new(source);
        return HostError::Failed {
            action,
            kind,
            source,
        };
    };
    let error = source.downcast_ref::<std::io::Error>();
    match error.map(std::io::Error::kind) {
        Some(Io::StorageFull | Io::QuotaExceeded) => {
            Refusal::NoSpace(format!("{action}: this host's disk is full")).into()
        }
        Some(Io::NotFound) => Refusal::Unsupported(format!("{action}: {source}")).into(),
        _ => HostError::Failed {
            action,
            kind,
            source,
        },
    }
}

pub(crate) fn image(action: String, source: ImageError) -> HostError {
    HostError::Failed {
        action,
        kind: source.kind(),
        source: Box::new(source),
    }
}

pub(crate) fn log(machine: MachineId, source: LogError) -> HostError {
    HostError::Failed {
        action: format!("read the log of machine {machine}"),
        kind: source.kind(),
        source: Box::new(source),
    }
}

/// A call of the driver on behalf of a user; `state` is where the machine was thought to be.
pub(crate) fn driver(action: String, state: MachineState, source: DriverError) -> HostError {
    let kind = match &source {
        DriverError::NotRunning(_) => return not_started(state),
        DriverError::Guest { .. } => ErrorKind::Invalid,
        DriverError::Host { .. } => ErrorKind::Internal,
    };
    HostError::Failed {
        action,
        kind,
        source: Box::new(source),
    }
}

pub(crate) fn stopping(machine: MachineId) -> HostError {
    HostError::Failed {
        action: format!("reach machine {machine}"),
        kind: ErrorKind::Unavailable,
        source: "the host is shutting down".into(),
    }
}
