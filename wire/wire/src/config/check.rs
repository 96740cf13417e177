use crate::GoDuration;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// A periodic probe; one inside a service has no `kind`.
    pub struct Check {
        pub port: i64,
        #[serde(rename = "type")]
        pub check_type: String,
        pub kind: String,
        pub interval: GoDuration,
        pub timeout: GoDuration,
        pub grace_period: GoDuration,
        pub method: String,
        pub path: String,
        pub protocol: String,
        pub tls_skip_verify: bool,
        pub tls_server_name: String,
        pub headers: Vec<HttpHeader>,
    }

    pub struct HttpHeader {
        pub name: String,
        pub values: Vec<String>,
    }

    /// Where the machine offers metrics.
    pub struct Metrics {
        pub port: i64,
        pub path: String,
        pub https: bool,
    }
}
