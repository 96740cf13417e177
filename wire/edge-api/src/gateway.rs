//! What control and gateway say to each other beside the directory.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_types::{HostId, IpRange, PeerKey, Region};
use tokio::sync::watch;

/// A gateway as devices reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayInfo {
    pub region: Region,
    /// The host it leads into; a part of its devices' addresses.
    pub host_id: HostId,
    pub public_key: PeerKey,
    /// Address or host name for devices' configurations.
    pub endpoint: String,
    /// Of UDP.
    pub port: u16,
    /// Of TCP with TLS, where WebSockets carry the tunnel; `None` if there is none.
    pub websocket_port: Option<u16>,
    /// Whose WireGuard it uses: `kernel` or `userspace`.
    pub wireguard: String,
}

/// A device as its gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    pub public_key: PeerKey,
    /// How long ago keys were agreed on.
    pub last_handshake: Option<Duration>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Where it is heard from, unless it comes by a WebSocket.
    pub endpoint: Option<SocketAddr>,
}

/// How long keys are good: REJECT_AFTER_TIME of the WireGuard paper.
const KEYS_LAST: Duration = Duration::from_secs(180);

impl PeerReport {
    /// Whether its keys are good still.
    pub fn is_connected(&self) -> bool {
        self.last_handshake.is_some_and(|ago| ago < KEYS_LAST)
    }
}

/// A gateway that follows the directory.
pub trait GatewayApi: Send + Sync + 'static {
    fn info(&self) -> GatewayInfo;

    /// The keys it lets in at present; a new value at every change.
    fn admitted(&self) -> watch::Receiver<Arc<BTreeSet<PeerKey>>>;

    fn peers(&self) -> Vec<PeerReport>;
}

/// The addresses a device may use: clients take the whole /120 around the one they were given.
pub fn peer_range(ip: Ipv6Addr) -> IpRange {
    IpRange::new(ip.into(), 120).expect("IPv6 has more bits")
}
