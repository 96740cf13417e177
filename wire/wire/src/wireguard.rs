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
    /// The name of the token that entered it, and the label it was given; missing for a device that a user entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
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

optional_fields! {
    /// Body of a new token for programs that enter devices.
    pub struct CreateWireguardToken {
        pub name: String,
    }
}

/// A token for programs that enter devices; never with its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireguardToken {
    pub name: String,
    pub created_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireguardTokens {
    pub tokens: Vec<WireguardToken>,
}

/// A token that was just made, with its text, which is not shown again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreatedWireguardToken {
    pub name: String,
    pub token: String,
}

optional_fields! {
    /// Body of a device's entry by a token.
    pub struct StartWireguardPeer {
        pub name: String,
        /// A label.
        pub group: String,
        pub pubkey: String,
        /// Where its gateway shall be; the default region if it is missing.
        pub region: String,
    }

    /// Body of another key for a device that the same token entered.
    pub struct UpdateWireguardPeer {
        pub pubkey: String,
    }
}

/// What a token that entered a device is told: what the official client reads, and all that is told to users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartedWireguardPeer {
    #[serde(flatten)]
    pub created: CreatedWireguardPeer,
    /// The device's address.
    pub us: String,
    /// The gateway.
    pub them: String,
    /// The gateway's key.
    pub key: String,
}

impl From<CreatedWireguardPeer> for StartedWireguardPeer {
    fn from(created: CreatedWireguardPeer) -> Self {
        StartedWireguardPeer {
            us: created.peerip.clone(),
            them: created.endpointip.clone(),
            key: created.pubkey.clone(),
            created,
        }
    }
}
