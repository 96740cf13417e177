use std::collections::BTreeMap;

use mayfly_wire::GoDuration;
use serde_json::Value;

use super::Vm;
use mayfly_wire::optional_fields;

optional_fields! {
    /// How the image is made.
    pub struct Build {
        pub builder: String,
        pub buildpacks: Vec<String>,
        pub args: BTreeMap<String, String>,
        pub image: String,
        pub settings: Value,
        pub builtin: String,
        pub dockerfile: String,
        pub ignorefile: String,
        #[serde(rename = "build-target")]
        pub build_target: String,
        pub compose: Compose,
        pub compression: String,
        pub compression_level: i64,
    }

    pub struct Compose {
        pub file: String,
    }

    /// How a release replaces the one before.
    pub struct Deploy {
        pub strategy: String,
        /// Below 1 a share of the group, else a count.
        pub max_unavailable: f64,
        pub wait_timeout: GoDuration,
        pub release_command: String,
        pub release_command_timeout: GoDuration,
        pub release_command_vm: Vm,
        pub seed_command: String,
    }

    pub struct Experimental {
        pub cmd: Vec<String>,
        pub entrypoint: Vec<String>,
        pub exec: Vec<String>,
        pub auto_rollback: bool,
        pub enable_consul: bool,
        pub enable_etcd: bool,
        pub lazy_load_images: bool,
        pub attached: Value,
        pub machine_config: String,
        pub container: String,
    }
}
