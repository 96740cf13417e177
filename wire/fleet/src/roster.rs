use std::net::SocketAddr;

use mayfly_types::{HostId, Region};
use serde::{Deserialize, Serialize};

/// The servers of a fleet; a server that is not in it is nobody's peer. Published whole at every change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    pub servers: Vec<RosterServer>,
}

/// One daemon, and how others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterServer {
    /// Its first host.
    pub id: HostId,
    /// `<address or name>:<port>` where it listens for the others.
    pub address: String,
    /// `None` while it cannot carry traffic between machines.
    pub tunnel: Option<TunnelEnd>,
    /// Never empty.
    pub hosts: Vec<RosterHost>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterHost {
    pub id: HostId,
    pub region: Region,
    pub memory_mib: u64,
    pub cpus: u32,
}

/// A server's end of the tunnels between servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// A WireGuard key, in base64.
    pub public_key: String,
    pub endpoint: SocketAddr,
}

impl Roster {
    pub fn server(&self, id: HostId) -> Option<&RosterServer> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// The server with a host.
    pub fn server_of(&self, host: HostId) -> Option<&RosterServer> {
        let has = |server: &&RosterServer| server.hosts.iter().any(|one| one.id == host);
        self.servers.iter().find(has)
    }
}
