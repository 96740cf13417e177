//! Runs machines on this host.
//!
//! [`Driver`] is what the supervisor needs of a way to run guests; `container` implements it with namespaces, cgroups
//! and `mayfly-init`, `fake` for tests of the supervisor. The driver knows nothing of phases, restarts or users. Every
//! call may be repeated: it finds what an earlier, interrupted call left and finishes it.

mod cgroup;
mod container;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod features;
mod init_program;
mod processes;
mod root_source;
mod rootfs;
mod run_dir;
mod session;
mod trash;
mod volumes;

pub use container::{ContainerConfig, ContainerDriver, StartError};
pub use features::missing_features;
pub use root_source::RootSource;
pub use volumes::{VolumeDisk, VolumeHealth};

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use mayfly_guest::{ExitRecord, GuestRecord, LaunchSpec};
use mayfly_host_api::{
    ContainerReport, ExecRequest, ExecSession, MemoryReport, MemoryRequest, ProcessInfo, VolumeSpec,
};
use mayfly_machine::{GuestSize, RootfsSpec, Signal};
use mayfly_types::{Digest, ErrorKind, LaunchId, MachineId, NetworkId, VolumeId};
use tokio::net::{TcpListener, TcpStream};

#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Makes what a machine keeps from creation to destruction: directories and its place in the network.
    async fn provision(&self, body: &Body) -> Result<(), DriverError>;

    /// Starts a guest and returns once its first process runs the user's program. A launch that already happened
    /// (same id) returns its guest. A guest of another launch must be gone.
    ///
    /// # Errors
    /// [`DriverError::Guest`] if the program could not be run, with the reason for people.
    async fn launch(&self, body: &Body, launch: &Launch) -> Result<GuestRecord, DriverError>;

    /// What is there now.
    async fn observe(&self, machine: MachineId) -> Result<Observed, DriverError>;

    /// Waits until the guest has ended and returns how. Dropping the future stops the waiting only.
    async fn exited(&self, machine: MachineId, launch: LaunchId)
    -> Result<ExitRecord, DriverError>;

    /// Signals the main processes.
    async fn signal(&self, machine: MachineId, signal: Signal) -> Result<(), DriverError>;

    /// Kills everything in the guest, also a frozen one. A guest that is gone is success.
    async fn kill(&self, machine: MachineId) -> Result<(), DriverError>;

    async fn freeze(&self, machine: MachineId) -> Result<(), DriverError>;

    async fn thaw(&self, machine: MachineId) -> Result<(), DriverError>;

    /// After an exit was journaled: removes what only the guest needed (cgroups, run files), keeps what `provision` made.
    async fn clean(&self, machine: MachineId) -> Result<(), DriverError>;

    /// Removes everything of the machine. An unknown machine is success.
    async fn remove(&self, machine: MachineId) -> Result<(), DriverError>;

    async fn exec(
        &self,
        machine: MachineId,
        request: ExecRequest,
    ) -> Result<ExecSession, DriverError>;

    /// Opens the shell door of a machine that was launched: a listener for port 22 of its private address, in its own
    /// network, behind any program of the machine that listens there. Dropping it closes the door.
    async fn shell_door(
        &self,
        machine: MachineId,
        private_ip: Ipv6Addr,
    ) -> Result<TcpListener, DriverError>;

    /// Connects as a program inside the machine would.
    async fn connect_inside(
        &self,
        machine: MachineId,
        target: SocketAddr,
    ) -> Result<TcpStream, DriverError>;

    async fn ps(&self, machine: MachineId) -> Result<Vec<ProcessInfo>, DriverError>;

    async fn containers(&self, machine: MachineId) -> Result<Vec<ContainerReport>, DriverError>;

    /// CPU time used so far by the running guest, in microseconds; the input of the burst budget.
    async fn cpu_used_us(&self, machine: MachineId) -> Result<u64, DriverError>;

    /// Sets how much CPU a guest may use, in thousandths of one CPU; `None` lifts the limit.
    async fn limit_cpu(
        &self,
        machine: MachineId,
        millicpus: Option<u32>,
    ) -> Result<(), DriverError>;

    /// Reads or changes how much memory the guest may use; the limit holds until the next launch.
    ///
    /// # Errors
    /// [`DriverError::Guest`] if the guest uses more than the new limit and cannot give it back.
    async fn memory(
        &self,
        machine: MachineId,
        request: MemoryRequest,
    ) -> Result<MemoryReport, DriverError>;

    /// Makes a volume's disk, or finds it. A failure leaves nothing of it.
    async fn make_volume(&self, spec: &VolumeSpec) -> Result<(), DriverError>;

    /// Makes a volume's disk larger, at once for the machine that runs with it (`machine`) if the kernel lets us. True if
    /// that machine has to be started anew to see the new size.
    async fn grow_volume(
        &self,
        volume: VolumeId,
        size_gib: u32,
        machine: Option<MachineId>,
    ) -> Result<bool, DriverError>;

    /// Before a launch with a volume: sees to it that it mounts and fills its disk, repairing it if need be.
    async fn ready_volume(&self, volume: VolumeId) -> Result<VolumeHealth, DriverError>;

    /// Removes a volume with its data. An unknown one is success; one in use is an error.
    async fn remove_volume(&self, volume: VolumeId) -> Result<(), DriverError>;

    /// What there is of a volume, `None` if nothing. `machine` is the one that may run with it.
    async fn volume(
        &self,
        volume: VolumeId,
        machine: Option<MachineId>,
    ) -> Result<Option<VolumeDisk>, DriverError>;

    /// Every machine this driver holds anything of; for sweeping what no journal knows.
    async fn machines(&self) -> Result<Vec<MachineId>, DriverError>;
}

/// What stays the same from one launch of a machine to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    pub machine_id: MachineId,
    pub network: NetworkId,
    pub private_ip: Ipv6Addr,
    /// Outbound IPv4 goes through this address, translated at the host.
    pub ipv4: Ipv4Addr,
    pub size: GuestSize,
    pub swap_mib: u32,
    pub rootfs: RootfsSpec,
}

/// One start: what to run, fully computed by the supervisor. The driver fills in paths, cgroups and the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub launch_id: LaunchId,
    /// Without host paths: `log_dir`, `netns`, `cgroups`, each container's `root` and each volume's `image` are set by the
    /// driver.
    pub spec: LaunchSpec,
    /// Manifest digest of each container's image, by container name; the driver asks the image store for its layers.
    pub images: BTreeMap<String, Digest>,
    /// Keep what the machine wrote since the last launch.
    pub keep_rootfs: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// Nothing runs and no exit is on record: never launched, cleaned, or lost in a reboot.
    Absent,
    Running(GuestRecord),
    Frozen(GuestRecord),
    Exited(ExitRecord),
}

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The guest's own fault: its program or files are wrong. Trying again will not help.
    #[error("{reason}")]
    Guest { reason: String },
    #[error("machine {0} does not run")]
    NotRunning(MachineId),
    #[error("{action}")]
    Host {
        action: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DriverError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            DriverError::Guest { .. } => ErrorKind::Invalid,
            DriverError::NotRunning(_) => ErrorKind::Conflict,
            DriverError::Host { .. } => ErrorKind::Internal,
        }
    }
}
