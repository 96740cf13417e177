use std::collections::BTreeMap;

use crate::GoDuration;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// What the first process is.
    pub struct Init {
        /// Replaces everything the image says.
        pub exec: Vec<String>,
        pub entrypoint: Vec<String>,
        pub cmd: Vec<String>,
        pub tty: bool,
        pub swap_size_mb: i64,
        pub kernel_args: Vec<String>,
    }

    /// One of several programs in one machine.
    pub struct Process {
        pub exec: Vec<String>,
        pub entrypoint: Vec<String>,
        pub cmd: Vec<String>,
        pub user: String,
        pub env: BTreeMap<String, String>,
        pub secrets: Vec<SecretEnv>,
        pub ignore_app_secrets: bool,
        pub env_from: Vec<EnvFrom>,
    }

    pub struct SecretEnv {
        pub env_var: String,
        pub name: String,
    }

    pub struct EnvFrom {
        pub env_var: String,
        pub field_ref: String,
    }

    pub struct File {
        pub guest_path: String,
        /// Base64.
        pub raw_value: String,
        pub secret_name: String,
        pub image_config: String,
        pub mode: i64,
    }

    pub struct Restart {
        pub policy: String,
        pub max_retries: i64,
    }

    pub struct StopConfig {
        pub timeout: GoDuration,
        pub signal: String,
    }

    pub struct Dns {
        pub skip_registration: bool,
        pub nameservers: Vec<String>,
        pub searches: Vec<String>,
        pub options: Vec<DnsOption>,
        pub dns_forward_rules: Vec<DnsForwardRule>,
        pub hostname: String,
        pub hostname_fqdn: String,
    }

    pub struct DnsOption {
        pub name: String,
        pub value: String,
    }

    pub struct DnsForwardRule {
        pub basename: String,
        pub addr: String,
    }
}
