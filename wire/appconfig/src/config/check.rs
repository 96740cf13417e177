use std::collections::BTreeMap;

use mayfly_wire::GoDuration;

use mayfly_wire::optional_fields;

optional_fields! {
    pub struct TcpCheck {
        pub interval: GoDuration,
        pub timeout: GoDuration,
        pub grace_period: GoDuration,
    }

    pub struct HttpCheck {
        pub interval: GoDuration,
        pub timeout: GoDuration,
        pub grace_period: GoDuration,
        pub method: String,
        pub path: String,
        pub protocol: String,
        pub tls_skip_verify: bool,
        pub tls_server_name: String,
        pub headers: BTreeMap<String, String>,
    }

    /// A check that no service has, of `http` or `tcp`.
    pub struct TopLevelCheck {
        #[serde(rename = "type")]
        pub check_type: String,
        pub port: i64,
        pub kind: String,
        pub interval: GoDuration,
        pub timeout: GoDuration,
        pub grace_period: GoDuration,
        pub method: String,
        pub path: String,
        pub protocol: String,
        pub tls_skip_verify: bool,
        pub tls_server_name: String,
        pub headers: BTreeMap<String, String>,
        pub processes: Vec<String>,
    }

    /// A command that tests a new machine from a machine of its own.
    pub struct MachineCheck {
        pub command: Vec<String>,
        pub image: String,
        pub entrypoint: Vec<String>,
        pub kill_signal: String,
        pub kill_timeout: GoDuration,
    }
}
