use std::net::{IpAddr, SocketAddr};

use mayfly_types::NetworkId;

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Door {
    pub(crate) ip: IpAddr,
    /// The port services are configured for: 80 and 443 on the shared doors, wherever those really listen.
    pub(crate) port: u16,
    /// The port the client connected to.
    pub(crate) bound: u16,
    pub(crate) reach: Reach,
}

impl Door {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.bound)
    }
}

/// Whom a door leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Every app: the host name decides.
    Shared,
    /// One app, from anywhere.
    Dedicated,
    /// One app, from its own network only (Flycast).
    Private(NetworkId),
}
