use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mayfly_types::Region;
use serde::Deserialize;

use super::addresses::Addresses;
use super::duration::{duration, some_duration};
use crate::autoscale_config::AutoscaleSection;
use crate::buckets::StaticsSection;
use crate::builder::BuilderSection;
use crate::certificates::{AcmeSection, CertificatesSection, DnsSection};
use crate::edge_limits::EdgeLimitsSection;
use crate::fleet_config::{FleetSection, JoinSection};
use crate::gateways::GatewaySection;
use crate::images::ImagesSection;
use crate::registry_config::RegistrySection;
use crate::usage_config::UsageSection;

/// The file's shape. The shipped example is parsed by a test.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) region: Option<Region>,
    pub(super) regions: Vec<Region>,
    pub(super) api: Api,
    pub(super) edge: Edge,
    pub(super) certificates: CertificatesSection,
    pub(super) acme: AcmeSection,
    pub(super) dns: DnsSection,
    pub(super) addresses: Addresses,
    pub(super) gateway: GatewaySection,
    pub(super) latency: LatencySection,
    pub(super) store: Store,
    pub(super) log: Log,
    pub(super) shutdown: Shutdown,
    pub(super) limits: Limits,
    pub(super) images: ImagesSection,
    pub(super) builder: BuilderSection,
    pub(super) autoscale: AutoscaleSection,
    pub(super) usage: UsageSection,
    pub(super) statics: StaticsSection,
    pub(super) registry: RegistrySection,
    pub(super) fleet: FleetSection,
    pub(super) join: JoinSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Api {
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Edge {
    pub(super) listen: Option<SocketAddr>,
    pub(super) https_listen: Option<SocketAddr>,
    pub(super) addresses: BTreeMap<Region, IpAddr>,
    pub(super) public_addresses: Vec<IpAddr>,
    pub(super) domain: Option<String>,
    pub(super) accept_proxy_protocol: Vec<String>,
    #[serde(deserialize_with = "some_duration")]
    pub(super) drain: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    pub(super) autostop_period: Option<Duration>,
    pub(super) limits: EdgeLimitsSection,
}

/// How far regions of one server seem to be from each other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LatencySection {
    pub(super) emulate: bool,
    /// By pair of regions, such as `iad-fra`; both ways are the same.
    pub(super) round_trips: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    pub(super) url_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) api: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shutdown {
    #[serde(deserialize_with = "duration")]
    pub(super) patience: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
        }
    }
}

impl File {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }
}
