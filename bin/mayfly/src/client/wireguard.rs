use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in};

/// A WireGuard peer as the API describes it.
#[derive(Clone, Debug)]
pub(crate) struct WireguardPeer(Value);

impl WireguardPeer {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn region(&self) -> &str {
        self.text("region")
    }

    pub(crate) fn network(&self) -> &str {
        self.text("network")
    }

    pub(crate) fn ip(&self) -> &str {
        self.text("peerip")
    }

    /// Of a listed peer its own key, of one just created that of its gateway.
    pub(crate) fn public_key(&self) -> &str {
        self.text("pubkey")
    }

    /// The name of the token by which it was added; empty for one that a user added.
    pub(crate) fn token(&self) -> &str {
        self.text("token")
    }

    pub(crate) fn group(&self) -> &str {
        self.text("group")
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0["connected"] == true
    }

    pub(crate) fn last_handshake_at(&self) -> &str {
        self.text("last_handshake_at")
    }

    /// Where it is heard from; empty while unknown and for a WebSocket.
    pub(crate) fn endpoint(&self) -> &str {
        self.text("endpoint")
    }

    pub(crate) fn rx_bytes(&self) -> u64 {
        self.number("rx_bytes")
    }

    pub(crate) fn tx_bytes(&self) -> u64 {
        self.number("tx_bytes")
    }

    /// Of one just created: where its gateway is reached, ready for a configuration.
    pub(crate) fn gateway(&self) -> String {
        let host = self.text("endpointip");
        let port = self.number("endpoint_port");
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }
}

impl From<Value> for WireguardPeer {
    fn from(document: Value) -> Self {
        WireguardPeer(document)
    }
}

/// What a new peer is asked to be.
#[derive(Clone, Debug)]
pub(crate) struct NewWireguardPeer {
    pub(crate) name: String,
    pub(crate) region: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) public_key: String,
}

/// What a peer that a program adds is asked to be.
#[derive(Clone, Debug)]
pub(crate) struct StartWireguardPeer {
    pub(crate) name: String,
    pub(crate) group: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) public_key: String,
}

impl Api {
    pub(crate) async fn wireguard_peers(&self, org: &str) -> Result<Vec<WireguardPeer>, ApiError> {
        let path = path(org);
        let answer = self.get(&path).send().await?;
        let peers = list_in(answer, "peers", &path)?;
        Ok(peers.into_iter().map(WireguardPeer).collect())
    }

    pub(crate) async fn wireguard_peer(
        &self,
        org: &str,
        name: &str,
    ) -> Result<WireguardPeer, ApiError> {
        let path = format!("{}/{}", path(org), encoded(name));
        Ok(WireguardPeer(self.get(&path).send().await?))
    }

    pub(crate) async fn create_wireguard_peer(
        &self,
        org: &str,
        new: &NewWireguardPeer,
    ) -> Result<WireguardPeer, ApiError> {
        let mut body = json!({ "name": new.name, "pubkey": new.public_key });
        for (key, value) in [("region", &new.region), ("network", &new.network)] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        Ok(WireguardPeer(
            self.post(&path(org)).json(body).send().await?,
        ))
    }

    pub(crate) async fn remove_wireguard_peer(
        &self,
        org: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let path = format!("{}/{}", path(org), encoded(name));
        self.delete(&path).send().await.map(drop)
    }

    pub(crate) async fn wireguard_tokens(&self, org: &str) -> Result<Vec<Value>, ApiError> {
        let path = tokens(org);
        let answer = self.get(&path).send().await?;
        list_in(answer, "tokens", &path)
    }

    /// The answer with the token's text, which is not to be had again.
    pub(crate) async fn create_wireguard_token(
        &self,
        org: &str,
        name: &str,
    ) -> Result<Value, ApiError> {
        let body = json!({ "name": name });
        self.post(&tokens(org)).json(body).send().await
    }

    pub(crate) async fn delete_wireguard_token(
        &self,
        org: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let path = format!("{}/{}", tokens(org), encoded(name));
        self.delete(&path).send().await.map(drop)
    }

    /// As the holder of a WireGuard token.
    pub(crate) async fn start_wireguard_peer(
        &self,
        new: &StartWireguardPeer,
    ) -> Result<WireguardPeer, ApiError> {
        let mut body = json!({ "name": new.name, "pubkey": new.public_key });
        for (key, value) in [("region", &new.region), ("group", &new.group)] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        let call = self.post(DELEGATED).json(body);
        Ok(WireguardPeer(call.send().await?))
    }

    /// As the holder of the WireGuard token that added the peer.
    pub(crate) async fn update_wireguard_peer(
        &self,
        name: &str,
        public_key: &str,
    ) -> Result<WireguardPeer, ApiError> {
        let path = format!("{DELEGATED}/{}", encoded(name));
        let call = self.put(&path);
        let call = call.json(json!({ "pubkey": public_key }));
        Ok(WireguardPeer(call.send().await?))
    }
}

/// Where programs with a WireGuard token add peers.
const DELEGATED: &str = "/api/v1/wire_guard_peers";

fn tokens(org: &str) -> String {
    format!("/v1/orgs/{}/wireguard_tokens", encoded(org))
}

fn path(org: &str) -> String {
    format!("/v1/orgs/{}/wireguard_peers", encoded(org))
}
