use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use mayfly_deploy::Pace as AutoscalePace;
use mayfly_types::{IpRange, Region};
use serde::Serialize;

use crate::certificates::CertificateSettings;

/// Where the edge of a region takes requests for apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeAddress {
    pub region: Region,
    pub address: SocketAddr,
    /// The same over TLS.
    pub https: SocketAddr,
}

/// Where the addresses of apps come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPools {
    pub v4: Option<IpRange>,
    pub v6: Option<IpRange>,
    /// The address where edges tell apps apart by host name.
    pub shared_v4: Option<Ipv4Addr>,
    /// Addresses that machines leave by; routed to this cloud, and nobody is reached there.
    pub egress_v4: Option<IpRange>,
    pub egress_v6: Option<IpRange>,
}

/// What the control plane is told about the cloud it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Apps are reached as `<app>.<domain>`.
    pub domain: String,
    /// Where the world reaches the API, without a slash at the end.
    pub api_url: String,
    /// The HTTP listener of each edge, for addresses shown to users; the first is that of the default region.
    pub edges: Vec<EdgeAddress>,
    pub addresses: AddressPools,
    /// Shown by `status`.
    pub version: String,
    pub certificates: CertificateSettings,
    /// A host that was silent for so long counts as failed.
    pub host_patience: Duration,
    /// What images of our own registry are called by, before the first slash.
    pub registry_names: Vec<String>,
    pub builder: BuilderSettings,
    pub autoscale: AutoscalePace,
    /// Sizes are advised once a machine was measured for so long.
    pub measured_enough: Duration,
    /// A directory for uploads under way. Emptied at the start.
    pub uploads: PathBuf,
}

/// What the builder machine of an organization is like.
#[derive(Clone, Debug)]
pub struct BuilderSettings {
    /// Dedicated ones.
    pub cpus: u32,
    pub memory_mib: u32,
    /// For images, layers and caches.
    pub disk_gib: u32,
    /// Without a build for so long it stops.
    pub idle: Duration,
}

impl Default for BuilderSettings {
    fn default() -> Self {
        Self {
            cpus: 2,
            memory_mib: 4096,
            disk_gib: 50,
            idle: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// Who signs for the machines of an organization.
    pub(crate) fn oidc_issuer(&self, org: &str) -> String {
        format!("{}/oidc/{org}", self.api_url)
    }

    pub(crate) fn hostname(&self, app: &str) -> String {
        format!("{app}.{}", self.domain)
    }

    pub(crate) fn app_url(&self, app: &str) -> String {
        let hostname = self.hostname(app);
        match self.edges.first().map(|edge| edge.address.port()) {
            None | Some(80) => format!("http://{hostname}/"),
            Some(port) => format!("http://{hostname}:{port}/"),
        }
    }
}
