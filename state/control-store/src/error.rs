use mayfly_db::DbError;
use mayfly_types::{ErrorKind, HostId, InstanceId, MachineId, Region, Timestamp, VolumeId};

/// Why the store does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there are {most} {what} already, and no more are possible")]
    Full { what: &'static str, most: i64 },
    /// More than the organization's admins said it may have.
    #[error(
        "organization `{org}` has its whole budget of {most} {what} already; one of its admins can raise it"
    )]
    OverBudget {
        org: String,
        what: &'static str,
        most: i64,
    },
    #[error("{what} `{name}` does not exist")]
    NotFound { what: &'static str, name: String },
    #[error("{what} `{name}` has already been taken")]
    Taken { what: &'static str, name: String },
    #[error("app `{app}` still has {machines} machines")]
    NotEmpty { app: String, machines: i64 },
    #[error("organization `{org}` still has {apps} apps and {peers} WireGuard peers")]
    OrgNotEmpty { org: String, apps: i64, peers: i64 },
    /// A personal organization lives as long as its user, alone.
    #[error("organization `{0}` is personal: it has one member and cannot be deleted")]
    Personal(String),
    #[error("{machines} machines live on host {host}")]
    HostNotEmpty { host: HostId, machines: i64 },
    #[error("host {0} was removed from this fleet")]
    HostRemoved(HostId),
    #[error("lease currently held by {owner}, expires at {until}")]
    Leased { owner: String, until: Timestamp },
    /// No lease, or not one with this nonce.
    #[error("lease not found")]
    NoLease,
    #[error("machine {machine_id} has version {current}, not the expected one")]
    VersionMoved {
        machine_id: MachineId,
        current: InstanceId,
    },
    #[error("machine {0} is destroyed")]
    Destroyed(MachineId),
    #[error("volume {volume} is attached to machine {machine}")]
    VolumeInUse {
        volume: VolumeId,
        machine: MachineId,
    },
    #[error("volume {volume} is {state}")]
    VolumeNotReady {
        volume: VolumeId,
        state: &'static str,
    },
    /// A machine runs where its volume is.
    #[error(
        "volume {volume} is in region {region}, on host {host}: a machine runs where its volume is"
    )]
    VolumeElsewhere {
        volume: VolumeId,
        region: Region,
        host: HostId,
    },
    #[error("volume {volume} has {size_gb} GB and cannot get smaller")]
    VolumeShrinks { volume: VolumeId, size_gb: u32 },
    #[error("no address is free in the pool")]
    NoAddress,
    #[error("idempotency key `{0}` was used for another request")]
    KeyReused(String),
    /// An organization must keep at least one admin.
    #[error("the last admin of an organization can neither leave nor become a member")]
    LastAdmin,
    #[error("control store")]
    Db(#[from] DbError),
}

impl StoreError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::NotFound { .. } | StoreError::NoLease => ErrorKind::NotFound,
            StoreError::Taken { .. }
            | StoreError::NotEmpty { .. }
            | StoreError::OrgNotEmpty { .. }
            | StoreError::HostNotEmpty { .. }
            | StoreError::Leased { .. }
            | StoreError::VersionMoved { .. }
            | StoreError::Destroyed(_)
            | StoreError::VolumeInUse { .. }
            | StoreError::VolumeNotReady { .. }
            | StoreError::LastAdmin => ErrorKind::Conflict,
            StoreError::HostRemoved(_) => ErrorKind::Denied,
            StoreError::KeyReused(_)
            | StoreError::Full { .. }
            | StoreError::Personal(_)
            | StoreError::VolumeElsewhere { .. }
            | StoreError::VolumeShrinks { .. } => ErrorKind::Invalid,
            StoreError::NoAddress | StoreError::OverBudget { .. } => ErrorKind::Exhausted,
            StoreError::Db(error) => error.kind(),
        }
    }

    /// Whether the database's server does not answer, and may do so again later.
    pub fn is_away(&self) -> bool {
        matches!(self, StoreError::Db(error) if error.is_away())
    }

    pub(crate) fn not_found(what: &'static str, name: impl ToString) -> Self {
        StoreError::NotFound {
            what,
            name: name.to_string(),
        }
    }

    pub(crate) fn taken(what: &'static str, name: impl ToString) -> Self {
        StoreError::Taken {
            what,
            name: name.to_string(),
        }
    }
}
