use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The public key by which a WireGuard peer is known: 32 bytes, written in base64 as `wg` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerKey([u8; 32]);

/// A text that is not a WireGuard key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no WireGuard key: 32 bytes in base64, 44 characters")]
pub struct InvalidPeerKey(String);

impl PeerKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> PeerKey {
        PeerKey(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PeerKey {
    type Err = InvalidPeerKey;

    fn from_str(text: &str) -> Result<PeerKey, InvalidPeerKey> {
        let bytes = STANDARD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(PeerKey)
            .ok_or_else(|| InvalidPeerKey(text.to_owned()))
    }
}

impl TryFrom<String> for PeerKey {
    type Error = InvalidPeerKey;

    fn try_from(text: String) -> Result<PeerKey, InvalidPeerKey> {
        text.parse()
    }
}

impl From<PeerKey> for String {
    fn from(key: PeerKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_as_wg_does() {
        let text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        let key: PeerKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        for wrong in [
            "",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D",
            "AAAA",
            &"!".repeat(44),
        ] {
            assert!(wrong.parse::<PeerKey>().is_err(), "{wrong}");
        }
    }
}
