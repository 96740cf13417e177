//! What the control plane publishes to edges: which names and addresses lead to which app, with which certificates.
//!
//! Machines, services and checks are not here: they come from hosts, in the catalog. An edge needs both, keeps serving
//! from the last of each, and asks nobody while it serves.

mod gateway;
mod load;
mod network_policy;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use mayfly_types::{AppId, AppName, HostId, MachineId, NetworkId, OrgId, PeerKey, Region, Secret};
use serde::{Deserialize, Serialize};

pub use gateway::{GatewayApi, GatewayInfo, PeerReport, peer_range};
pub use load::{EdgeLoad, FarLoad, MachineLoad, ServiceLoad};
pub use network_policy::{
    NetworkPolicy, PolicyAction, PolicyDirection, PolicyPort, PolicyProtocol, PolicyRule,
    PolicySelector,
};

/// Everything at one moment; a new value at every change. Parts that did not change stay the same allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    pub apps: Vec<Arc<DirectoryApp>>,
    pub certificates: Vec<Arc<ServerCertificate>>,
    pub challenges: Vec<Challenge>,
    /// Devices of users, in the order of their keys.
    #[serde(default)]
    pub peers: Vec<Arc<DirectoryPeer>>,
    /// Whose certificates open machines.
    #[serde(default)]
    pub ssh_authorities: Vec<SshAuthority>,
}

/// The authority that vouches for visitors of an organization's machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshAuthority {
    pub org_id: OrgId,
    /// As in an `authorized_keys` file.
    pub public_key: String,
}

/// An app as the edge finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryApp {
    pub app_id: AppId,
    pub name: AppName,
    pub org_id: OrgId,
    pub network: NetworkId,
    /// Custom host names, lower case, without a dot at the end; `*.example.com` matches one label.
    pub hostnames: Vec<String>,
    pub addresses: Vec<AssignedAddress>,
    /// Apps and organizations outside of its own that may replay requests to this app.
    pub replay_sources: Vec<ReplaySource>,
    /// By which its machines leave.
    #[serde(default)]
    pub egress: Vec<EgressAddress>,
    #[serde(default)]
    pub policies: Vec<NetworkPolicy>,
    /// Its machines are created and destroyed by load: edges say how busy they are.
    #[serde(default)]
    pub autoscaled: bool,
}

impl DirectoryApp {
    /// The address of a family that a machine leaves by, of those its app has in the machine's region. It keeps its choice
    /// while others come and go (rendezvous hashing).
    pub fn egress_of(
        &self,
        machine: MachineId,
        region: &Region,
        family: IpFamily,
    ) -> Option<IpAddr> {
        let here = self
            .egress
            .iter()
            .filter(|address| address.region == *region);
        here.map(|address| address.ip)
            .filter(|ip| ip.is_ipv4() == (family == IpFamily::V4))
            .max_by_key(|ip| preference(machine, *ip))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    V4,
    V6,
}

fn preference(machine: MachineId, ip: IpAddr) -> u64 {
    let text = format!("{machine} {ip}");
    // FNV-1a, then mixed: its last bytes alone would decide too little.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedAddress {
    pub ip: IpAddr,
    pub reach: Reach,
    /// Only edges of this region announce it; `None` means all.
    pub region: Option<Region>,
}

/// A user's device that reaches one network by WireGuard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryPeer {
    /// Lower case in names.
    pub name: String,
    pub org_id: OrgId,
    pub network: NetworkId,
    /// Where its gateway is.
    pub region: Region,
    pub host_id: HostId,
    pub public_key: PeerKey,
    /// It may use every address of the /120 around this one.
    pub ip: Ipv6Addr,
}

/// An address that machines of one region leave by, and nobody arrives at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressAddress {
    pub ip: IpAddr,
    pub region: Region,
}

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everybody; the address is this app's alone.
    Dedicated,
    /// Everybody; the host name decides which app is meant.
    Shared,
    /// Machines and peers of this network (Flycast).
    Private(NetworkId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplaySource {
    Organization(OrgId),
    App(AppId),
}

/// A certificate with its key, for the names it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerCertificate {
    /// As in [`DirectoryApp::hostnames`].
    pub hostnames: Vec<String>,
    /// PEM, leaf first.
    pub chain: String,
    /// PEM, PKCS #8.
    pub key: Secret,
}

/// An open proof of ownership that arrives at the edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Challenge {
    /// `GET http://<hostname>/.well-known/acme-challenge/<token>` answers `response` (RFC 8555, 8.3).
    Http01 {
        hostname: String,
        token: String,
        response: String,
    },
    /// A handshake for `hostname` that offers `acme-tls/1` only is given this certificate (RFC 8737).
    TlsAlpn01 {
        hostname: String,
        certificate: Arc<ServerCertificate>,
    },
    /// A TXT record of `_acme-challenge.<hostname>`, or of where that name leads, has this value (RFC 8555, 8.4).
    Dns01 { hostname: String, value: String },
}
