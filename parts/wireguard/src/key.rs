use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519::{PublicKey, StaticSecret};
use mayfly_types::PeerKey;

/// A text that is not a key: 32 bytes in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no WireGuard key: 32 bytes in base64, 44 characters")]
pub struct InvalidKey;

/// The secret half of an interface's identity. Never printed by `Debug`.
#[derive(Clone)]
pub struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// A new key from the kernel's randomness.
    pub fn generate() -> PrivateKey {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the kernel has randomness once it has booted");
        PrivateKey(StaticSecret::from(bytes))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> PrivateKey {
        PrivateKey(StaticSecret::from(bytes))
    }

    /// What others know this key by.
    pub fn public(&self) -> PeerKey {
        PeerKey::from_bytes(PublicKey::from(&self.0).to_bytes())
    }

    /// The key in base64, as configuration files hold it.
    pub fn reveal(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn secret(&self) -> StaticSecret {
        self.0.clone()
    }
}

impl FromStr for PrivateKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<PrivateKey, InvalidKey> {
        decode(text).map(PrivateKey::from_bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {}", self.public())
    }
}

/// A secret two peers share besides their keys. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    pub fn from_bytes(bytes: [u8; 32]) -> PresharedKey {
        PresharedKey(bytes)
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for PresharedKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<PresharedKey, InvalidKey> {
        decode(text).map(PresharedKey)
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey")
    }
}

fn decode(text: &str) -> Result<[u8; 32], InvalidKey> {
    let bytes = STANDARD.decode(text).map_err(|_| InvalidKey)?;
    bytes.try_into().map_err(|_| InvalidKey)
}
