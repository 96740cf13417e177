//! What the control plane asks of a host, and what a host reports.
//!
//! On one server the host lives in the same process and [`HostApi`] is a plain call; between servers the same calls
//! travel over mutual TLS. Every changing call returns once the host has journaled it: from then on it happens even if
//! everybody dies. Repeating a call is safe; the host is the only authority for what runs on it.

mod connect;
mod error;
mod exec;
mod image;
mod log;
mod machine;
mod memory;
mod volume;

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mayfly_machine::Signal;
use mayfly_types::{HostId, HostSeq, ImageRef, MachineId, VolumeId};
use tokio::sync::watch;

pub use connect::{Connection, Duplex};
pub use error::{HostError, Refusal};
pub use exec::{
    ExecExit, ExecInput, ExecOutput, ExecRequest, ExecSession, ProcessInfo, Socket, Terminal,
};
pub use image::{ImageInfo, ImageSource, Pruned, PullProgress, RegistryLogin};
pub use log::{LogEntry, LogPage, LogQuery};
pub use machine::{
    CatalogEntry, CheckReport, ContainerReport, CreateMachine, HostEvent, HostStatus,
    MachineReport, RestartMachine, ScheduleRun, StopMachine, UpdateMachine,
};
pub use mayfly_machine::{Actor, CheckStatus, CheckTurn, EventKind, ExitEvent, Launch, Usage};
pub use memory::{MemoryReport, MemoryRequest};
pub use volume::{Filesystem, VolumeExtended, VolumeReport, VolumeSpace, VolumeSpec, VolumeState};

/// The machines of a host as edges and names see them.
pub type Catalog = Arc<Vec<Arc<CatalogEntry>>>;

/// The address of a host in the tunnels between servers: number 1 of network 0, which no organization is given.
pub fn host_address(host: HostId) -> Ipv6Addr {
    let bits = u32::from_str_radix(host.as_str(), 16).expect("a host id is 8 hexadecimal digits");
    Ipv6Addr::from_bits((0xfdaa_u128 << 112) | (u128::from(bits) << 48) | 1)
}

#[async_trait]
pub trait HostApi: Send + Sync + 'static {
    /// Takes a machine on. Creating a machine that exists with the same version returns its report. From then on its
    /// volumes are attached to it, until it is destroyed or updated to a version without them.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotHere`] and [`Refusal::VolumeInUse`] for a volume that it cannot have; so does
    /// [`HostApi::update`].
    async fn create(&self, request: CreateMachine) -> Result<MachineReport, HostError>;

    /// Replaces a machine's version in place; a running machine is stopped by its stop rule and started anew.
    async fn update(
        &self,
        machine: MachineId,
        request: UpdateMachine,
    ) -> Result<MachineReport, HostError>;

    /// Starts a created or stopped machine, thaws a suspended one. A started machine stays as it is.
    async fn start(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError>;

    /// Asks the guest to end, and kills it when its patience has passed. A stopped machine stays as it is.
    async fn stop(
        &self,
        machine: MachineId,
        request: StopMachine,
    ) -> Result<MachineReport, HostError>;

    async fn restart(
        &self,
        machine: MachineId,
        request: RestartMachine,
    ) -> Result<MachineReport, HostError>;

    /// Freezes a started machine with its memory and files.
    async fn suspend(&self, machine: MachineId, by: Actor) -> Result<MachineReport, HostError>;

    /// Takes a machine out of traffic or back in; its process runs on.
    async fn cordon(
        &self,
        machine: MachineId,
        cordoned: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError>;

    /// Sends a signal to the main process of a started machine.
    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), HostError>;

    /// Removes the machine and everything it kept. A running one is refused unless `kill`.
    async fn destroy(
        &self,
        machine: MachineId,
        kill: bool,
        by: Actor,
    ) -> Result<MachineReport, HostError>;

    /// Runs a program inside a started machine. Dropping the session ends the program.
    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, HostError>;

    /// Opens a TCP connection to a private address that this host reaches: of one of its machines, or of an app on its
    /// edge. Whether the asker may reach it was decided by the caller.
    ///
    /// # Errors
    /// `Invalid` for an address that is not private, `Unavailable` if nobody answers there.
    async fn connect(&self, target: SocketAddrV6) -> Result<Connection, HostError>;

    /// Asks a private address for an ICMPv6 echo and returns how long it took.
    ///
    /// # Errors
    /// As [`HostApi::connect`]; `Unavailable` also if no answer came within `patience`.
    async fn ping(&self, target: Ipv6Addr, patience: Duration) -> Result<Duration, HostError>;

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, HostError>;

    /// Reads or changes how much memory a machine that runs may use.
    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, HostError>;

    /// What these machines used during the last week; nothing of those that are not here or were not measured.
    async fn usage(
        &self,
        machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, Usage>, HostError>;

    async fn report(&self, machine: MachineId) -> Result<MachineReport, HostError>;

    /// Reported changes after `after`, oldest first, at most `limit`.
    async fn events_after(&self, after: HostSeq, limit: usize)
    -> Result<Vec<HostEvent>, HostError>;

    /// The newest position in the host's reports; changes when there is more to read.
    fn latest(&self) -> watch::Receiver<HostSeq>;

    /// All machines that could take traffic, ordered by id; a new value at every change. The entry of a machine that did not change
    /// stays the same allocation.
    fn catalog(&self) -> watch::Receiver<Catalog>;

    /// The last runs of a scheduled machine, newest first.
    async fn schedule_runs(
        &self,
        machine: MachineId,
        limit: usize,
    ) -> Result<Vec<ScheduleRun>, HostError>;

    /// A page of log lines; waits up to the query's patience when there is nothing new.
    async fn logs(&self, query: LogQuery) -> Result<LogPage, HostError>;

    /// Finds the digest an image name stands for now, pulling its manifest (and, in the background, its layers) if the
    /// host does not have it.
    async fn resolve_image(
        &self,
        image: &ImageRef,
        login: Option<RegistryLogin>,
    ) -> Result<ImageInfo, HostError>;

    /// Takes images in from an archive or layout on the host's disk; returns what was found in it.
    async fn import_image(&self, source: ImageSource) -> Result<Vec<ImageInfo>, HostError>;

    async fn images(&self) -> Result<Vec<ImageInfo>, HostError>;

    /// What pulls are doing now, by image.
    async fn pulls(&self) -> Vec<PullProgress>;

    /// Removes images that no machine needs and nobody in `keep` names.
    async fn prune_images(&self, keep: Vec<ImageRef>) -> Result<Pruned, HostError>;

    /// Makes a volume. Making one that exists, as it is asked for, returns its report.
    ///
    /// # Errors
    /// [`Refusal::VolumeExists`] if it exists with another size or filesystem, `Exhausted` if this host's disk could
    /// never hold it. What failed half way is finished by the next call, or by the host itself after its next start.
    async fn create_volume(&self, spec: VolumeSpec) -> Result<VolumeReport, HostError>;

    /// Makes a volume as large as `size_gib`, while it is mounted where the kernel allows that. A volume never shrinks.
    ///
    /// # Errors
    /// `UnknownVolume`; [`Refusal::Shrinks`] for less than it has; `Exhausted` as [`HostApi::create_volume`].
    async fn extend_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
    ) -> Result<VolumeExtended, HostError>;

    /// Removes a volume with all that is in it. One that is gone is success.
    ///
    /// # Errors
    /// [`Refusal::VolumeInUse`] while a machine's configuration has it.
    async fn destroy_volume(&self, volume: VolumeId) -> Result<(), HostError>;

    async fn volume(&self, volume: VolumeId) -> Result<VolumeReport, HostError>;

    /// All volumes of this host, ordered by id.
    async fn volumes(&self) -> Result<Vec<VolumeReport>, HostError>;

    async fn status(&self) -> HostStatus;
}
