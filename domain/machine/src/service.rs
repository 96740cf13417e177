//! What the edge may route to a machine, and how it learns that the machine is well.
//!
//! Meanings and defaults: <https://fly.io/docs/reference/configuration/> (services, checks, statics).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A port of the machine that the edge may route to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub protocol: Protocol,
    pub internal_port: u16,
    /// Public ports; none means that the service is reached privately only.
    #[serde(default)]
    pub ports: Vec<PortSpec>,
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Whether the edge wakes the machine for a request.
    #[serde(default = "yes")]
    pub autostart: bool,
    #[serde(default)]
    pub autostop: Autostop,
    /// Machines of the primary region that autostop leaves running.
    #[serde(default)]
    pub min_machines_running: u32,
    #[serde(default)]
    pub checks: Vec<CheckSpec>,
}

impl ServiceSpec {
    /// A service without public ports, with everything else as if the user had said nothing.
    pub fn new(protocol: Protocol, internal_port: u16) -> Self {
        ServiceSpec {
            protocol,
            internal_port,
            ports: Vec::new(),
            concurrency: Concurrency::default(),
            autostart: true,
            autostop: Autostop::Off,
            min_machines_running: 0,
            checks: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Public ports with one treatment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// First and last port; equal for a single one.
    pub first: u16,
    pub last: u16,
    /// In the order given; empty passes the bytes through.
    pub handlers: Vec<Handler>,
    /// Plain HTTP is answered with a redirect to https.
    pub force_https: bool,
    pub tls: TlsOptions,
    pub http: HttpOptions,
    /// Version of the header that `proxy_proto` sends.
    pub proxy_proto: ProxyProtoVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    Http,
    Tls,
    PgTls,
    ProxyProto,
    EdgeHttp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsOptions {
    /// Protocols offered; empty means `h2` and `http/1.1`.
    pub alpn: Vec<Alpn>,
    /// Versions accepted; empty means both.
    pub versions: Vec<TlsVersion>,
    /// Serve a self-signed certificate where no other fits.
    pub default_self_signed: bool,
}

/// A protocol that is agreed on in the TLS handshake: <https://www.rfc-editor.org/rfc/rfc7301>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alpn {
    #[serde(rename = "h2")]
    H2,
    #[serde(rename = "http/1.1")]
    Http11,
    /// What the program behind a port without the HTTP handler speaks, such as `mqtt`.
    #[serde(untagged)]
    Other(String),
}

impl Alpn {
    /// The name on the wire, of 1 to 255 bytes.
    pub fn as_str(&self) -> &str {
        match self {
            Alpn::H2 => "h2",
            Alpn::Http11 => "http/1.1",
            Alpn::Other(name) => name,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "TLSv1.2")]
    Tls12,
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpOptions {
    pub compress: bool,
    /// Fields set on every response; `None` takes the field away.
    pub response_headers: BTreeMap<String, Option<Vec<String>>>,
    /// The edge adds nothing of its own to responses.
    pub pristine: bool,
    /// The machine speaks HTTP/2 without TLS.
    pub h2_backend: bool,
    /// A connection on which nothing moves for so long is closed.
    pub idle_timeout: Option<Duration>,
    /// How long a request head may take.
    pub headers_read_timeout: Option<Duration>,
    pub replay_cache: Vec<ReplayCacheRule>,
}

/// Requests below `path_prefix` with one value of the named cookie or header share a replay target for `ttl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCacheRule {
    pub path_prefix: String,
    pub ttl: Duration,
    pub key: ReplayCacheKey,
    pub allow_bypass: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayCacheKey {
    Cookie(String),
    Header(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtoVersion {
    #[default]
    V1,
    V2,
}

/// How much one machine is given at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    pub kind: ConcurrencyKind,
    /// Above it other machines are preferred and woken.
    pub soft: u32,
    /// At it the machine gets nothing more; `None` means no limit.
    pub hard: Option<u32>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Concurrency {
            kind: ConcurrencyKind::Connections,
            soft: 20,
            hard: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyKind {
    Connections,
    Requests,
}

/// What happens to a machine that has no more to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autostop {
    #[default]
    Off,
    Stop,
    Suspend,
}

/// A periodic probe of a machine, made from its own host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    pub port: u16,
    pub interval: Duration,
    pub timeout: Duration,
    pub grace_period: Duration,
    pub probe: CheckProbe,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckProbe {
    Tcp,
    Http {
        method: String,
        path: String,
        headers: Vec<(String, String)>,
        tls: Option<CheckTls>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTls {
    pub skip_verify: bool,
    pub server_name: Option<String>,
}

/// Files of the image, or of a bucket, that the edge serves by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSpec {
    /// Absolute path of a directory in the image; with a bucket, the prefix of its keys.
    pub guest_path: String,
    /// Begins with `/`.
    pub url_prefix: String,
    pub bucket: Option<String>,
    /// Served where the path names a directory.
    pub index_document: Option<String>,
}
