//! `config` of a machine: every field of the public API, in its words. All fields are optional, as in the Go client.

mod check;
mod container;
mod guest;
mod process;
mod service;

use std::collections::BTreeMap;

use crate::optional_fields::optional_fields;

pub use check::{Check, HttpHeader, Metrics};
pub use container::{
    Container, ContainerDependency, ContainerHealthcheck, ContainerMount, ExecProbe, HttpProbe,
    TcpProbe, TempDir, Volume,
};
pub use guest::{CacheDrive, Guest, Rootfs, RootfsPersist, Spot};
pub use process::{
    Dns, DnsForwardRule, DnsOption, EnvFrom, File, Init, Process, Restart, SecretEnv, StopConfig,
};
pub use service::{
    Autostop, HttpOptions, HttpResponseOptions, Port, ProxyProtoOptions, ReplayCache, Service,
    ServiceConcurrency, TlsOptions,
};

optional_fields! {
    /// What a machine shall be. Everything may be left out but `image` or `containers`.
    pub struct MachineConfig {
        pub env: BTreeMap<String, String>,
        pub init: Init,
        pub guest: Guest,
        pub metadata: BTreeMap<String, String>,
        pub mounts: Vec<Mount>,
        pub services: Vec<Service>,
        pub metrics: Metrics,
        pub checks: BTreeMap<String, Check>,
        pub statics: Vec<Static>,
        pub image: String,
        pub files: Vec<File>,
        /// `hourly`, `daily`, `weekly`, `monthly`; Mayfly also takes a cron expression.
        pub schedule: String,
        pub auto_destroy: bool,
        pub restart: Restart,
        pub dns: Dns,
        pub processes: Vec<Process>,
        pub standbys: Vec<String>,
        pub stop_config: StopConfig,
        pub containers: Vec<Container>,
        pub volumes: Vec<Volume>,
        pub rootfs: Rootfs,
        pub cache_drive: CacheDrive,
        pub spot: Spot,
        /// Deprecated: the name of a size, such as `shared-cpu-1x`.
        pub size: String,
        /// Deprecated.
        pub disable_machine_autostart: bool,
    }

    pub struct Mount {
        pub encrypted: bool,
        pub path: String,
        pub size_gb: i64,
        /// Id of the volume.
        pub volume: String,
        /// Name of the volume.
        pub name: String,
        pub extend_threshold_percent: i64,
        pub add_size_gb: i64,
        pub size_gb_limit: i64,
    }

    /// Files of the machine the edge serves itself.
    pub struct Static {
        pub guest_path: String,
        pub url_prefix: String,
        pub tigris_bucket: String,
        pub index_document: String,
    }
}
