use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mayfly_driver::Driver;
use mayfly_edge_api::Directory;
use mayfly_image::ImageStore;
use mayfly_mesh::Ipv4Pool;
use mayfly_runtime::{Clock, Entropy, LoopBoard};
use mayfly_types::{MachineId, Region};
use tokio::sync::watch;

use crate::{Housemates, Server};

/// What a host is told once.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Holds `machines/<id>/logs`; the driver's, hence that of all hosts of one household.
    pub data_dir: PathBuf,
    /// This host's own: holds `journal.db` and `logs/<id>`.
    pub journal_dir: PathBuf,
    pub region: Region,
    pub overcommit: Overcommit,
    /// Name servers offered to guests.
    pub nameservers: Vec<String>,
    /// Reports older than this are dropped: a reader must not be away for longer.
    pub reports_kept: Duration,
    /// Destroyed machines (and their logs) are forgotten after this.
    pub destroyed_kept: Duration,
    /// Images from registries that no machine has needed for so long are removed; `None` keeps them all.
    pub unused_images_kept: Option<Duration>,
    /// How often it is looked at what started machines use.
    pub measured_every: Duration,
}

/// Two files of each machine are read every time.
const MEASURED_EVERY: Duration = Duration::from_secs(15);

/// Where machines ask for names: <https://fly.io/docs/networking/private-networking/>.
const NAMES: &str = "fdaa::3";

impl HostConfig {
    /// The usual limits for a data directory with one host, whose journal lies in `host`.
    pub fn new(data_dir: impl Into<PathBuf>, region: Region) -> Self {
        let data_dir = data_dir.into();
        HostConfig {
            journal_dir: data_dir.join("host"),
            data_dir,
            region,
            overcommit: Overcommit::Allow,
            nameservers: vec![NAMES.to_owned()],
            reports_kept: Duration::from_secs(7 * 24 * 3600),
            destroyed_kept: Duration::from_secs(24 * 3600),
            unused_images_kept: Some(Duration::from_secs(7 * 24 * 3600)),
            measured_every: MEASURED_EVERY,
        }
    }

    /// Where the machine's output is written while it exists.
    pub(crate) fn log_dir(&self, machine: MachineId) -> PathBuf {
        let machines = self.data_dir.join("machines");
        machines.join(machine.as_str()).join("logs")
    }

    /// Where the log of a destroyed machine stays until the machine is forgotten.
    pub(crate) fn kept_log_dir(&self, machine: MachineId) -> PathBuf {
        self.journal_dir.join("logs").join(machine.as_str())
    }
}

/// The directory that a machine sees as `/.fly`. Whoever serves the API to machines keeps a socket `api` in it.
pub fn door_dir(data_dir: &Path, machine: MachineId) -> PathBuf {
    data_dir
        .join("machines")
        .join(machine.as_str())
        .join("door")
}

/// Whether the memory promised to running machines may exceed the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overcommit {
    /// Most machines use a small part of what they were promised; the kernel ends the greediest when it does not work out.
    Allow,
    /// A start that would promise more than the server has is refused.
    Forbid,
}

/// What a host works with.
#[derive(Clone)]
pub struct HostDeps {
    pub driver: Arc<dyn Driver>,
    pub images: ImageStore,
    /// The addresses the driver's network lets machines have.
    pub ipv4_pool: Ipv4Pool,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub board: LoopBoard,
    pub server: Server,
    /// What the control plane publishes: whose certificates open machines.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// The hosts with the same driver and images; `Housemates::default()` for a host of its own.
    pub housemates: Housemates,
}
