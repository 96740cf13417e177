use std::net::SocketAddr;
use std::sync::Arc;

use mayfly_edge_api::{Challenge, DirectoryApp, DirectoryPeer, ServerCertificate, SshAuthority};
use mayfly_types::AppId;
use serde::{Deserialize, Serialize};

use crate::roster::{Roster, RosterHost};

/// What a server says of itself when it joins and whenever it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its hosts, the one that names it first.
    pub hosts: Vec<RosterHost>,
    /// Where others reach it; without an address they use the one it is seen at.
    pub address: Option<String>,
    pub port: u16,
    /// The public half of its tunnel key, in base64.
    pub tunnel_key: Option<String>,
    /// Where its tunnel is reached; without it, at the address it is seen at and `port`.
    pub tunnel_endpoint: Option<SocketAddr>,
}

/// What the control plane publishes to every server: first a whole, then what changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedMessage {
    Roster(Roster),
    /// A whole begins: what follows up to [`FeedMessage::Current`] replaces everything known.
    Begin,
    Apps {
        changed: Vec<Arc<DirectoryApp>>,
        removed: Vec<AppId>,
    },
    /// All certificates and open proofs.
    Certificates {
        certificates: Vec<Arc<ServerCertificate>>,
        challenges: Vec<Challenge>,
    },
    /// All devices of users.
    Peers(Vec<Arc<DirectoryPeer>>),
    /// All authorities whose certificates open machines.
    SshAuthorities(Vec<SshAuthority>),
    /// What was sent so far belongs together and holds now.
    Current,
    /// Nothing is new; the line is alive.
    Alive,
}
