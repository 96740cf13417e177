use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::client::{ApiError, WireguardPeer};
use crate::context::Context;

/// The file name that means the standard output.
const STDOUT: &str = "stdout";
/// Seconds; keeps ways through translators open.
const KEEPALIVE: u32 = 15;

/// A device's own secret, which never leaves this computer.
pub(super) struct Key(StaticSecret);

impl Key {
    pub(super) fn generate() -> anyhow::Result<Key> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).context("ask the kernel for randomness")?;
        Ok(Key(StaticSecret::from(bytes)))
    }

    pub(super) fn public(&self) -> String {
        STANDARD.encode(PublicKey::from(&self.0))
    }

    fn private(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }
}

/// Where a configuration goes. Opened before the peer is made: a key that cannot be written down would be lost.
pub(super) enum PeerFile {
    Stdout,
    File(String, std::fs::File),
}

impl PeerFile {
    /// A new file that only its owner reads. `instead` is the argument that answers without asking.
    pub(super) fn open(context: &Context, given: Option<String>) -> anyhow::Result<PeerFile> {
        let name = match given {
            Some(name) => name,
            None => context.out.ask(
                "File for the WireGuard configuration, or 'stdout':",
                "FILE (a new file, or stdout)",
            )?,
        };
        anyhow::ensure!(!name.is_empty(), "the name of the file is empty");
        if name == STDOUT {
            return Ok(PeerFile::Stdout);
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
            .with_context(|| format!("make the file {name}"))?;
        Ok(PeerFile::File(name, file))
    }

    pub(super) fn write(
        self,
        context: &Context,
        peer: &WireguardPeer,
        key: &Key,
    ) -> anyhow::Result<()> {
        let text = configuration(peer, &key.private())?;
        match self {
            PeerFile::Stdout => context.out.text(&text)?,
            PeerFile::File(name, mut file) => {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .with_context(|| format!("write {name}"))?;
                context.out.line(&format!(
                    "Wrote WireGuard configuration to {name}; load it with `wg-quick up` or in a WireGuard client"
                ))?;
            }
        }
        Ok(())
    }

    /// Writes the configuration of the peer that is being made, or takes the file back if it is not.
    pub(super) async fn fill(
        self,
        context: &Context,
        key: &Key,
        making: impl Future<Output = Result<WireguardPeer, ApiError>>,
    ) -> anyhow::Result<()> {
        match making.await {
            Ok(peer) => self.write(context, &peer, key),
            Err(error) => {
                self.discard();
                Err(error.into())
            }
        }
    }

    /// Takes back a file in which nothing was written.
    pub(super) fn discard(self) {
        if let PeerFile::File(name, _) = self {
            let _ = std::fs::remove_file(name);
        }
    }
}

/// In the format of `wg-quick`.
fn configuration(peer: &WireguardPeer, private_key: &str) -> anyhow::Result<String> {
    let ip: Ipv6Addr = peer
        .ip()
        .parse()
        .with_context(|| format!("the cloud gave \"{}\" for an address", peer.ip()))?;
    let network = Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80));
    let names = Ipv6Addr::from_bits(network.to_bits() | 3);
    Ok(format!(
        "\n[Interface]\nPrivateKey = {private_key}\nAddress = {ip}/120\nDNS = {names}\n\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = {network}/48\nEndpoint = {}\nPersistentKeepalive = {KEEPALIVE}\n\n",
        peer.public_key(),
        peer.gateway(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_says_what_wg_quick_needs() {
        let peer = |endpoint: &str| {
            WireguardPeer::from(json!({
                "peerip": "fdaa:0:3:a7b:8122:8033:4455:6602",
                "endpointip": endpoint,
                "endpoint_port": 51820,
                "pubkey": "GATEWAY=",
            }))
        };
        assert_eq!(
            configuration(&peer("192.0.2.7"), "SECRET=").unwrap(),
            "
[Interface]
PrivateKey = SECRET=
Address = fdaa:0:3:a7b:8122:8033:4455:6602/120
DNS = fdaa:0:3::3

[Peer]
PublicKey = GATEWAY=
AllowedIPs = fdaa:0:3::/48
Endpoint = 192.0.2.7:51820
PersistentKeepalive = 15

"
        );
        let text = configuration(&peer("2001:db8::7"), "SECRET=").unwrap();
        assert!(text.contains("Endpoint = [2001:db8::7]:51820\n"));
    }
}
