use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Check;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// A port of the machine that the edge routes to.
    pub struct Service {
        pub protocol: String,
        pub internal_port: i64,
        pub autostop: Autostop,
        pub autostart: bool,
        pub min_machines_running: i64,
        pub ports: Vec<Port>,
        pub checks: Vec<Check>,
        pub concurrency: ServiceConcurrency,
        pub force_instance_key: String,
        pub force_instance_description: String,
    }

    /// A public port, or a range of them.
    pub struct Port {
        pub port: i64,
        pub start_port: i64,
        pub end_port: i64,
        pub handlers: Vec<String>,
        pub force_https: bool,
        pub tls_options: TlsOptions,
        pub http_options: HttpOptions,
        pub proxy_proto_options: ProxyProtoOptions,
    }

    pub struct TlsOptions {
        pub alpn: Vec<String>,
        pub versions: Vec<String>,
        pub default_self_signed: bool,
    }

    pub struct HttpOptions {
        pub compress: bool,
        pub response: HttpResponseOptions,
        pub h2_backend: bool,
        /// Seconds.
        pub idle_timeout: i64,
        /// Seconds.
        pub headers_read_timeout: i64,
        pub replay_cache: Vec<ReplayCache>,
    }

    pub struct HttpResponseOptions {
        /// Each value is a text, a list of texts, or `false` to take the header away.
        pub headers: serde_json::Map<String, serde_json::Value>,
        pub pristine: bool,
    }

    pub struct ReplayCache {
        pub path_prefix: String,
        pub ttl_seconds: i64,
        #[serde(rename = "type")]
        pub cache_type: String,
        pub name: String,
        pub allow_bypass: bool,
    }

    pub struct ProxyProtoOptions {
        pub version: String,
    }

    pub struct ServiceConcurrency {
        #[serde(rename = "type")]
        pub limit_type: String,
        pub hard_limit: i64,
        pub soft_limit: i64,
    }
}

/// What happens to an idle machine. Written `false`, `true` and `"suspend"`; read also as `"off"` and `"stop"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autostop {
    Off,
    Stop,
    Suspend,
}

impl Serialize for Autostop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Autostop::Off => serializer.serialize_bool(false),
            Autostop::Stop => serializer.serialize_bool(true),
            Autostop::Suspend => serializer.serialize_str("suspend"),
        }
    }
}

impl<'de> Deserialize<'de> for Autostop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = Autostop;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean or one of \"off\", \"stop\", \"suspend\"")
            }

            fn visit_bool<E: de::Error>(self, stop: bool) -> Result<Autostop, E> {
                Ok(if stop { Autostop::Stop } else { Autostop::Off })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Autostop, E> {
                match text {
                    "off" => Ok(Autostop::Off),
                    "stop" => Ok(Autostop::Stop),
                    "suspend" => Ok(Autostop::Suspend),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
