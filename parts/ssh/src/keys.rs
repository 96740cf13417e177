use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mayfly_types::ErrorKind;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::wire::{Malformed, Reader, Writer};

pub(crate) const ED25519_NAME: &str = "ssh-ed25519";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key is not of the form `ssh-ed25519 AAAA…`")]
    NotEd25519,
    #[error("the seed of a key is 32 bytes long")]
    Seed,
    #[error("read or make the host key {path}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl KeyError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            KeyError::NotEd25519 => ErrorKind::Invalid,
            KeyError::Seed | KeyError::File { .. } => ErrorKind::Internal,
        }
    }
}

/// An ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        bytes.try_into().map(PublicKey).map_err(|_| Malformed)
    }

    pub(crate) fn from_blob(blob: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(blob);
        if reader.text()? != ED25519_NAME {
            return Err(Malformed);
        }
        let key = PublicKey::from_bytes(reader.string()?)?;
        reader.is_empty().then_some(key).ok_or(Malformed)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        Writer::new().string(ED25519_NAME).string(self.0).done()
    }

    /// Whether `signature` (name and bytes, as the protocol has it) is this key's of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut reader = Reader::new(signature);
        let (Ok(ED25519_NAME), Ok(bytes)) = (reader.text(), reader.string()) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        reader.is_empty() && key.verify(message, bytes).is_ok()
    }

    /// As `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let digest = digest(&SHA256, &self.blob());
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
    }
}

impl fmt::Display for PublicKey {
    /// The line of an `authorized_keys` file, without a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ED25519_NAME} {}", STANDARD.encode(self.blob()))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        let mut words = line.split_whitespace();
        if words.next() != Some(ED25519_NAME) {
            return Err(KeyError::NotEd25519);
        }
        let blob = words.next().and_then(|word| STANDARD.decode(word).ok());
        let key = blob.and_then(|blob| PublicKey::from_blob(&blob).ok());
        key.ok_or(KeyError::NotEd25519)
    }
}

/// An ed25519 key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// `seed` is the private key of RFC 8032.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        pair.map(SigningKey).map_err(|_| KeyError::Seed)
    }

    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into();
        PublicKey(bytes.expect("ed25519 keys are 32 bytes long"))
    }

    /// Name and bytes of a signature, as the protocol has it.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(message);
        Writer::new().string(ED25519_NAME).string(signature).done()
    }
}

/// The key by which clients know a host.
pub struct HostKey(SigningKey);

impl HostKey {
    /// Reads the key, or writes `fresh` as one that only its owner can read. Blocks on the disk.
    pub fn open(path: &Path, fresh: [u8; 32]) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            path: path.display().to_string(),
            source,
        };
        let seed = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_private(path, &fresh).map_err(failed)?;
                fresh.to_vec()
            }
            read => read.map_err(failed)?,
        };
        SigningKey::from_seed(&seed).map(HostKey)
    }

    pub fn public(&self) -> PublicKey {
        self.0.public()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message)
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_from_their_line() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap().public();
        let line = format!("{key} somebody@somewhere");
        assert_eq!(line.parse::<PublicKey>().unwrap(), key);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAB3NzaC1yc2E=",
        ] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
        assert!(key.fingerprint().starts_with("SHA256:"));
    }

    #[test]
    fn a_host_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = HostKey::open(&path, [1; 32]).unwrap().public();
        assert_eq!(HostKey::open(&path, [2; 32]).unwrap().public(), made);
    }

    #[test]
    fn signatures_of_others_are_refused() {
        let [one, other] = [[1; 32], [2; 32]].map(|seed| SigningKey::from_seed(&seed).unwrap());
        let signature = one.sign(b"said");
        assert!(one.public().verifies(b"said", &signature));
        assert!(!one.public().verifies(b"sald", &signature));
        assert!(!other.public().verifies(b"said", &signature));
        assert!(!one.public().verifies(b"said", b""));
    }
}
