use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of a device's entry.
    pub struct CreateWireguardPeer {
        pub name: String,
        /// Where its gateway shall be; the default region if it is missing.
        pub region: String,
        /// Name of the network it shall reach; `default` if it is missing.
        pub network: String,
        pub pubkey: String,
    }
}

/// A user's device that reaches a network by WireGuard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireguardPeer {
    pub name: String,
    pub region: String,
    pub network: String,
    /// Its address. It may use the whole /120 around it.
    pub peerip: String,
    pub pubkey: String,
    pub created_at: Option<Timestamp>,
    /// When keys were agreed on last.
    pub last_handshake_at: Option<Timestamp>,
    /// Whether it has keys that are good now.
    pub connected: bool,
    /// Where it is heard from, unless it comes by a WebSocket.
    pub endpoint: Option<String>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireguardPeers {
    pub peers: Vec<WireguardPeer>,
}

/// What a new device needs for its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreatedWireguardPeer {
    pub name: String,
    pub region: String,
    pub network: String,
    pub peerip: String,
    /// Address or host name of the gateway.
    pub endpointip: String,
    /// Of UDP.
    pub endpoint_port: u16,
    /// Of TCP, where WebSockets carry the tunnel.
    pub websocket_port: Option<u16>,
    /// The gateway's key.
    pub pubkey: String,
}
