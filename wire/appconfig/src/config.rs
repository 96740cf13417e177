//! The configuration in its normal form. All fields are optional; the order is the one files are written in.

mod build;
mod check;
mod section;
mod service;

use std::collections::BTreeMap;

use mayfly_wire::GoDuration;

use mayfly_wire::optional_fields;

pub use build::{Build, Compose, Deploy, Experimental};
pub use check::{HttpCheck, MachineCheck, TcpCheck, TopLevelCheck};
pub use section::{File, Metrics, Mount, Restart, Vm};
pub use service::{AutoStop, HttpService, Service};

optional_fields! {
    /// How an app is built, run and reached: what `fly.toml` says.
    pub struct AppConfig {
        pub app: String,
        pub primary_region: String,
        pub kill_signal: String,
        pub kill_timeout: GoDuration,
        pub swap_size_mb: i64,
        pub console_command: String,
        pub host_dedication_id: String,
        /// JSON, or the path of a JSON file until [`AppConfig::inline`] read it.
        pub machine_config: String,
        pub container: String,
        pub experimental: Experimental,
        pub build: Build,
        pub deploy: Deploy,
        pub env: BTreeMap<String, String>,
        /// A command per process group; an empty one is the image's own.
        pub processes: BTreeMap<String, String>,
        pub mounts: Vec<Mount>,
        pub http_service: HttpService,
        pub services: Vec<Service>,
        pub checks: BTreeMap<String, TopLevelCheck>,
        pub files: Vec<File>,
        pub statics: Vec<mayfly_wire::Static>,
        pub metrics: Vec<Metrics>,
        pub restart: Vec<Restart>,
        pub vm: Vec<Vm>,
        pub machine_checks: Vec<MachineCheck>,
        /// How many machines each region is to have.
        pub regions: BTreeMap<String, i64>,
    }
}

impl AppConfig {
    /// The variables as they are written, without those the platform adds.
    pub fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env
            .iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All services, the HTTP service first, each with its path in the configuration.
    pub fn all_services(&self) -> Vec<(String, Service)> {
        let http = self
            .http_service
            .iter()
            .map(|service| ("http_service".to_owned(), service.as_service()));
        let services = self.services.iter().flatten().enumerate();
        http.chain(services.map(|(index, service)| (format!("services[{index}]"), service.clone())))
            .collect()
    }

    /// The machine configuration this one builds on, wherever it stands.
    pub fn base_machine_config(&self) -> Option<&str> {
        let experimental = self.experimental.as_ref();
        self.machine_config
            .as_deref()
            .or_else(|| experimental?.machine_config.as_deref())
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The container that gets the app's image, if one is named.
    pub fn container_name(&self) -> Option<&str> {
        let experimental = self.experimental.as_ref();
        self.container
            .as_deref()
            .or_else(|| experimental?.container.as_deref())
            .filter(|name| !name.is_empty())
    }
}
