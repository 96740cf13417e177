use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_types::{ImageRef, MachineId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{CheckSpec, GuestSize, ServiceSpec, Signal, StaticSpec};

/// What a user asked a machine to be, checked. `wire::MachineConfig` is its JSON; this is what hosts store and obey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Pinned to a digest before the spec is stored. With `containers`, the image of the first of them.
    pub image: ImageRef,
    pub size: GuestSize,
    pub init: InitSpec,
    /// What the user set; the runtime environment (`FLY_…`) is added by the host at each start.
    pub env: BTreeMap<String, String>,
    pub files: Vec<FileSpec>,
    /// Several programs in the machine's one root filesystem; empty means the image's own command.
    pub processes: Vec<ProcessSpec>,
    /// Several containers, each with its own root filesystem; empty means the one image above.
    pub containers: Vec<ContainerSpec>,
    pub restart: RestartPolicy,
    pub stop: StopSpec,
    /// Destroy the machine when its main process has ended and no restart is due.
    pub auto_destroy: bool,
    /// The schedule as the user wrote it: `hourly`, `daily`, `weekly`, `monthly` or a cron expression (UTC).
    pub schedule: Option<String>,
    /// Machines this one stands in for; it stays stopped while they are well.
    pub standbys: Vec<MachineId>,
    pub rootfs: RootfsSpec,
    /// The volumes whose ids are known. No two are of one volume or at one path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,
    pub dns: DnsSpec,
    pub metadata: BTreeMap<String, String>,
    pub services: Vec<ServiceSpec>,
    /// Top-level checks by name; those of services are with their service.
    #[serde(default)]
    pub checks: BTreeMap<String, CheckSpec>,
    #[serde(default)]
    pub statics: Vec<StaticSpec>,
    /// Set by the control plane alone; no configuration that a user writes says it.
    #[serde(default, skip_serializing_if = "Rights::are_ordinary")]
    pub rights: Rights,
}

impl MachineSpec {
    /// A machine of which the user said nothing but its image.
    pub fn of_image(image: ImageRef) -> Self {
        MachineSpec {
            image,
            size: GuestSize::default(),
            init: InitSpec::default(),
            env: BTreeMap::new(),
            files: Vec::new(),
            processes: Vec::new(),
            containers: Vec::new(),
            restart: RestartPolicy::default(),
            stop: StopSpec::default(),
            auto_destroy: false,
            schedule: None,
            standbys: Vec::new(),
            rootfs: RootfsSpec::default(),
            mounts: Vec::new(),
            dns: DnsSpec::default(),
            metadata: BTreeMap::new(),
            services: Vec::new(),
            checks: BTreeMap::new(),
            statics: Vec::new(),
            rights: Rights::default(),
        }
    }
}

/// What programs of a machine may ask of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    #[default]
    Ordinary,
    /// Mounts and owners of files of their own, as building images takes: they live in a user namespace, where their
    /// root is nobody on the host.
    Builder,
}

impl Rights {
    fn are_ordinary(&self) -> bool {
        *self == Rights::Ordinary
    }
}

/// Overrides of what the image runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpec {
    /// Replaces entrypoint and command together.
    pub exec: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub tty: bool,
    pub swap_mib: Option<u32>,
}

/// A file placed in (or taken out of) the root filesystem before the first process starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute, without `..`.
    pub guest_path: String,
    pub content: FileContent,
    /// Permission bits; `None` means 0644.
    pub mode: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    Bytes(Vec<u8>),
    /// The app secret of this name holds the bytes as base64.
    Secret(String),
    /// The OCI configuration of this image, as JSON.
    ImageConfig(ImageRef),
    /// An inherited entry is removed.
    Absent,
}

/// One of several programs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    pub exec: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub env_from: Vec<EnvFrom>,
    pub secrets: Vec<SecretEnv>,
    pub ignore_app_secrets: bool,
}

/// A variable filled from a fact about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    pub env_var: String,
    pub field: FieldRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldRef {
    Id,
    Version,
    AppName,
    PrivateIp,
    Region,
    Image,
}

/// A variable filled from an app secret; `name` defaults to the variable's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretEnv {
    pub env_var: String,
    pub name: String,
}

/// One container of several in a machine: own root filesystem, shared network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    pub image: ImageRef,
    pub process: ProcessSpec,
    pub files: Vec<FileSpec>,
    pub restart: Option<RestartPolicy>,
    pub stop: Option<StopSpec>,
    pub depends_on: Vec<Dependency>,
    pub healthchecks: Vec<Healthcheck>,
}

/// The container `name` must have come this far before the one that names it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub condition: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Started,
    Healthy,
    ExitedSuccessfully,
}

/// A periodic probe of a container from inside the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    pub name: Option<String>,
    pub interval: Duration,
    pub grace_period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    /// Stop the container when the check has failed.
    pub stop_when_unhealthy: bool,
    pub probe: Probe,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Passes on a 2xx answer.
    Http {
        port: u16,
        method: String,
        path: String,
        headers: BTreeMap<String, String>,
        tls: bool,
        tls_skip_verify: bool,
        tls_server_name: Option<String>,
    },
    /// Passes when a connection is accepted.
    Tcp { port: u16 },
    /// Passes on exit code 0.
    Exec { command: Vec<String> },
}

/// What happens when the main process ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub mode: RestartMode,
    /// Restarts before giving up; `None` means 10 for `on-failure` and no limit for `always`.
    pub max_retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartMode {
    No,
    OnFailure,
    Always,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            mode: RestartMode::OnFailure,
            max_retries: None,
        }
    }
}

/// How a machine is asked to end and how long it may take: SIGINT and 5 s unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    pub signal: Signal,
    pub patience: Duration,
}

impl StopSpec {
    /// The longest patience a user may ask for.
    pub const PATIENCE_MAX: Duration = Duration::from_secs(300);
}

impl Default for StopSpec {
    fn default() -> Self {
        StopSpec {
            signal: Signal::INT,
            patience: Duration::from_secs(5),
        }
    }
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsSpec {
    pub persist: Persist,
    /// A hard limit on what the machine may write, in GiB; `None` leaves it to the host's free space.
    pub size_gib: Option<u32>,
}

/// When writes to the root filesystem outlive the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persist {
    /// Rebuilt from the image at every start.
    #[default]
    Never,
    /// Kept when the machine restarts by itself, rebuilt at start and update.
    Restart,
    /// Kept until the machine is updated to another image or destroyed.
    Always,
}

/// Where a volume is seen in the machine. As long as a machine's spec has it, the volume is attached to that machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    pub volume: VolumeId,
    /// Absolute, without `..`; see [`MountSpec::may_be_at`].
    pub path: String,
}

impl MountSpec {
    /// What the host itself puts into a machine.
    const TAKEN: [&str; 4] = ["proc", "sys", "dev", ".fly"];

    /// Whether a volume may be mounted at an absolute path: neither as the root nor into what the host mounts there.
    pub fn may_be_at(path: &str) -> bool {
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts
            .next()
            .is_some_and(|first| !Self::TAKEN.contains(&first))
    }
}

/// What the guest's resolver and host name say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsSpec {
    pub skip_registration: bool,
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    /// Resolver options as `name` or `name:value`.
    pub options: Vec<String>,
    pub hostname: Option<String>,
    pub hostname_fqdn: Option<String>,
}
