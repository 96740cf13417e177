use mayfly_db::DbError;
use mayfly_seal::SealError;
use mayfly_types::{ErrorKind, MachineId, VolumeId};

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("use the host's journal")]
    Db(#[from] DbError),
    #[error("decode {what} of machine {machine_id}")]
    Decode {
        what: &'static str,
        machine_id: MachineId,
        #[source]
        source: serde_json::Error,
    },
    #[error("decode {what} of machine {machine_id}: version {version} is from a newer program")]
    FromTheFuture {
        what: &'static str,
        machine_id: MachineId,
        version: i64,
    },
    #[error("decode the {what} of volume {volume_id}: it is from a newer program")]
    UnknownWord {
        what: &'static str,
        volume_id: VolumeId,
    },
    #[error("open the key of machines' secrets")]
    Key(#[source] SealError),
    #[error("open the secrets of machine {machine_id}")]
    OpenSecrets {
        machine_id: MachineId,
        #[source]
        source: SealError,
    },
    #[error("give machine {0} an address: all of the pool's are in use")]
    NoAddress(MachineId),
    /// Another writer moved the machine on: a defect, since each machine has one writer.
    #[error("store machine {machine_id}: its generation is no longer {expected}")]
    Overtaken {
        machine_id: MachineId,
        expected: i64,
    },
}

impl StoreError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Db(error) => error.kind(),
            StoreError::NoAddress(_) => ErrorKind::Exhausted,
            StoreError::Decode { .. }
            | StoreError::UnknownWord { .. }
            | StoreError::Key(_)
            | StoreError::OpenSecrets { .. }
            | StoreError::FromTheFuture { .. }
            | StoreError::Overtaken { .. } => ErrorKind::Internal,
        }
    }
}
