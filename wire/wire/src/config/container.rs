use std::collections::BTreeMap;

use super::{EnvFrom, File, HttpHeader, Restart, SecretEnv, StopConfig};
use crate::optional_fields::optional_fields;

optional_fields! {
    /// One of several containers of a machine.
    pub struct Container {
        pub name: String,
        pub image: String,
        pub exec: Vec<String>,
        pub entrypoint: Vec<String>,
        pub cmd: Vec<String>,
        pub user: String,
        pub env: BTreeMap<String, String>,
        pub secrets: Vec<SecretEnv>,
        pub env_from: Vec<EnvFrom>,
        pub files: Vec<File>,
        pub restart: Restart,
        pub stop: StopConfig,
        pub depends_on: Vec<ContainerDependency>,
        pub healthchecks: Vec<ContainerHealthcheck>,
        pub mounts: Vec<ContainerMount>,
    }

    pub struct ContainerDependency {
        pub name: String,
        pub condition: String,
    }

    /// Times are whole seconds.
    pub struct ContainerHealthcheck {
        pub name: String,
        pub interval: i64,
        pub grace_period: i64,
        pub timeout: i64,
        pub success_threshold: i64,
        pub failure_threshold: i64,
        pub kind: String,
        pub unhealthy: String,
        pub http: HttpProbe,
        pub tcp: TcpProbe,
        pub exec: ExecProbe,
    }

    pub struct HttpProbe {
        pub port: i64,
        pub method: String,
        pub path: String,
        pub headers: Vec<HttpHeader>,
        pub scheme: String,
        pub tls_skip_verify: bool,
        pub tls_server_name: String,
    }

    pub struct TcpProbe {
        pub port: i64,
    }

    pub struct ExecProbe {
        pub command: Vec<String>,
    }

    /// `name` refers to one of the configuration's `volumes`.
    pub struct ContainerMount {
        pub name: String,
        pub path: String,
    }

    /// A directory that containers share.
    pub struct Volume {
        pub name: String,
        pub temp_dir: TempDir,
        pub image: String,
    }

    pub struct TempDir {
        pub storage_type: String,
        pub size_mb: i64,
    }
}
