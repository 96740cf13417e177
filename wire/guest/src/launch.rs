use std::collections::BTreeMap;
use std::path::PathBuf;

use mayfly_machine::{Dependency, Healthcheck};
use mayfly_types::{LaunchId, MachineId, VolumeId};
use serde::{Deserialize, Serialize};

/// Everything the monitor and the init need for one start. All paths of the host are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// 1; a monitor refuses a version it does not know.
    pub version: u32,
    pub machine_id: MachineId,
    pub launch_id: LaunchId,
    pub hostname: String,
    /// Where the monitor appends the machine's output; see `mayfly-logs`.
    pub log_dir: PathBuf,
    /// A network namespace to enter, kept by a bind mount; `None` makes an empty one with only a loopback device.
    pub netns: Option<PathBuf>,
    /// Directories of the cgroups the init joins before it runs anything (one per hierarchy on cgroup v1).
    pub cgroups: Vec<PathBuf>,
    /// At least one. The first is the main one: its end is the machine's end unless `restart` says otherwise.
    pub containers: Vec<ContainerLaunch>,
    /// Contents of `/etc/hosts` and `/etc/resolv.conf` in every container.
    pub etc_hosts: String,
    pub etc_resolv_conf: String,
    /// Signal number that asks the machine to end: what the programs get when the host sends SIGTERM to the init.
    pub stop_signal: i32,
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// In every container.
    #[serde(default)]
    pub volumes: Vec<VolumeLaunch>,
}

/// A volume that is mounted as long as the machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeLaunch {
    pub volume_id: VolumeId,
    /// An ext4 image. Whoever uses it holds it by `flock`.
    pub image: PathBuf,
    pub guest_path: String,
}

/// A user namespace for the machine's programs: they are root of it, may mount in it, and are nobody on the host. What of
/// their root filesystem comes from the image belongs to the host's root and is theirs only for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// What their uid and gid 0 are on the host; the next ones follow.
    pub first_id: u32,
    pub ids: u32,
    /// Where they find a directory of their own that lies beside what the root filesystem's writes go to.
    pub kept_at: String,
}

/// One root filesystem and what runs in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerLaunch {
    pub name: String,
    pub root: RootLaunch,
    /// At least one; the container ends when the first has ended (and then the others are stopped).
    pub processes: Vec<ProcessLaunch>,
    pub files: Vec<FileEntry>,
    pub mounts: Vec<MountEntry>,
    pub restart: RestartRule,
    pub stop_signal: i32,
    /// From the asking to the killing of this container when the init takes it down, in milliseconds.
    pub stop_patience_ms: u64,
    pub depends_on: Vec<Dependency>,
    pub healthchecks: Vec<Healthcheck>,
}

/// An overlay: read-only layers below, one writable directory on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootLaunch {
    /// Topmost layer first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// An ext4 image that is mounted (loop) to hold `upper` and `work`, which are then paths inside it (made if missing).
    /// Limits the size.
    pub disk_image: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessLaunch {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    /// `user`, `user:group`, `uid` or `uid:gid`, looked up in the container's own /etc/passwd and /etc/group.
    pub user: String,
    /// Runs on a pseudo-terminal instead of pipes.
    pub tty: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    pub guest_path: String,
    /// `None` removes the path.
    pub content: Option<Vec<u8>>,
    pub mode: u32,
}

/// A directory of the host shown inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountEntry {
    pub source: PathBuf,
    pub guest_path: String,
    pub read_only: bool,
}

/// Restarts of one container inside a running machine. The main container's restarts are the host's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartRule {
    Never,
    OnFailure { max_retries: u32 },
    Always,
}
