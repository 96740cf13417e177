use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mayfly_edge_api::EdgeLoad;
use mayfly_host_api::{
    Actor, CatalogEntry, CreateMachine, ExecRequest, HostError, HostStatus, LogQuery,
    MemoryRequest, Refusal, RegistryLogin, RestartMachine, StopMachine, UpdateMachine, VolumeSpec,
};
use mayfly_machine::Signal;
use mayfly_types::{Digest, ErrorKind, HostId, HostSeq, ImageRef, MachineId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::feed::Hello;
use crate::join::JoinRequest;

/// What one server asks of another; the first message on a connection, and again after each answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Answered to anybody with a good token: all other calls need a certificate.
    Join(Box<JoinRequest>),
    /// Of the control plane: a certificate request in PEM.
    Renew { request: String },
    /// Of the control plane: the directory and the roster, as a stream of [`crate::FeedMessage`].
    Feed(Box<Hello>),
    /// Of the control plane: how busy the edges of the server that calls are.
    Load(EdgeLoad),
    /// Of a host on this server.
    Host { host: HostId, call: Box<HostCall> },
    /// Of the server's store of images.
    Image(ImageCall),
    /// Of the server with the registry: the connection then carries HTTP. At an edge it is led for a client.
    Registry { client: Option<SocketAddr> },
    /// Of the server with the control plane: the connection then carries HTTP to the API.
    Api(ApiVisitor),
}

/// Who comes to the API by way of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiVisitor {
    /// Whoever connects at the door of this machine, which runs on the server that calls.
    Machine(MachineId),
    /// Whoever connects from this address, with a token.
    From(SocketAddr),
}

/// The calls of `HostApi`. Edges may watch, start, stop and suspend; the rest is the control plane's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostCall {
    Create(CreateMachine),
    Update(MachineId, UpdateMachine),
    Start(MachineId, Actor),
    Stop(MachineId, StopMachine),
    Restart(MachineId, RestartMachine),
    Suspend(MachineId, Actor),
    Cordon(MachineId, bool, Actor),
    Signal(MachineId, Signal),
    Destroy(MachineId, bool, Actor),
    /// The connection then carries the session.
    Exec(MachineId, ExecRequest),
    /// The connection then carries its bytes.
    Connect(SocketAddrV6),
    Ping(Ipv6Addr, Duration),
    Ps(MachineId),
    Memory(MachineId, MemoryRequest),
    Usage(Vec<MachineId>),
    Report(MachineId),
    EventsAfter(HostSeq, usize),
    ScheduleRuns(MachineId, usize),
    Logs(LogQuery),
    ResolveImage(ImageRef, Option<RegistryLogin>),
    /// The bytes of the archive follow.
    ImportImage(Option<ImageRef>),
    Images,
    Pulls,
    PruneImages(Vec<ImageRef>),
    CreateVolume(VolumeSpec),
    ExtendVolume(VolumeId, u32),
    DestroyVolume(VolumeId),
    Volume(VolumeId),
    Volumes,
    /// Status, catalog and position as a stream of [`WatchMessage`].
    Watch,
}

/// Images move between the servers of a fleet without a registry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageCall {
    /// The digest of an image that was imported here under this name, that has this digest, or that the registry of this
    /// server has.
    Find(ImageRef),
    /// A manifest, a configuration or a layer of an image that is here, as a stream of bytes.
    Blob { digest: Digest },
}

/// What a host tells whoever watches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMessage {
    /// Entries that are new or changed, and machines that are gone. The first message with `complete` ends a whole:
    /// what was not named until then is not there. Every later one stands for itself.
    Entries {
        changed: Vec<CatalogEntry>,
        removed: Vec<MachineId>,
        complete: bool,
    },
    Latest(HostSeq),
    Status(Box<HostStatus>),
    /// Nothing is new; the line is alive.
    Alive,
}

/// Why a call failed, as it is said to the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    #[error("machine {0} is not on this host")]
    UnknownMachine(MachineId),
    #[error("volume {0} is not on this host")]
    UnknownVolume(VolumeId),
    #[error("refused")]
    Refused(Refusal),
    #[error("{text}")]
    Failed { text: String, kind: ErrorKind },
    /// The asker's server was removed from the fleet by its operator.
    #[error("this server was removed from the fleet")]
    Removed,
}

impl CallError {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        CallError::Failed {
            kind,
            text: text.into(),
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            CallError::UnknownMachine(_) | CallError::UnknownVolume(_) => ErrorKind::NotFound,
            CallError::Refused(_) => ErrorKind::Conflict,
            CallError::Failed { kind, .. } => *kind,
            CallError::Removed => ErrorKind::Denied,
        }
    }
}

impl From<HostError> for CallError {
    fn from(error: HostError) -> Self {
        let kind = error.kind();
        match error {
            HostError::UnknownMachine(machine) => CallError::UnknownMachine(machine),
            HostError::UnknownVolume(volume) => CallError::UnknownVolume(volume),
            HostError::Refused(refusal) => CallError::Refused(refusal),
            HostError::Failed { action, source, .. } => {
                let mut text = action;
                let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*source);
                while let Some(error) = cause {
                    text.push_str(": ");
                    text.push_str(&error.to_string());
                    cause = error.source();
                }
                CallError::Failed { text, kind }
            }
        }
    }
}

/// The error a caller gets where the host itself would have given it.
impl From<CallError> for HostError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::UnknownMachine(machine) => HostError::UnknownMachine(machine),
            CallError::UnknownVolume(volume) => HostError::UnknownVolume(volume),
            CallError::Refused(refusal) => HostError::Refused(refusal),
            other => HostError::Failed {
                action: "ask the host".to_owned(),
                kind: other.kind(),
                source: other.to_string().into(),
            },
        }
    }
}
