use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mayfly_runtime::Entropy;
use mayfly_types::ErrorKind;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::private_file::write_private;

/// First byte of everything sealed; changes with the algorithm.
const VERSION: u8 = 1;

const KEY_LEN: usize = 32;

/// Encrypts what must not be read from a copy of the database. Its key is a file beside it.
pub struct Sealer {
    key: LessSafeKey,
    fingerprints: hmac::Key,
    derived: hmac::Key,
}

/// What the fingerprints' key is derived for.
const FINGERPRINTS: &[u8] = b"mayfly fingerprints";

/// What the key of derived keys is derived for.
const DERIVED: &[u8] = b"mayfly derived keys";

/// Bytes of a fingerprint: enough that equal ones mean equal values, few enough to show to people.
const FINGERPRINT_LEN: usize = 8;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("read or make the sealing key {path}")]
    KeyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the sealing key {path} is not {KEY_LEN} bytes long")]
    KeyLength { path: PathBuf },
    /// Another key, another context, or damaged.
    #[error("open {context}: it was sealed with another key, or is damaged")]
    Foreign { context: String },
}

impl SealError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Sealer {
    /// Reads the key, or makes one that only its owner can read. Blocks on the disk.
    pub fn open(path: &Path, entropy: &dyn Entropy) -> Result<Sealer, SealError> {
        let failed = |source| SealError::KeyFile {
            path: path.to_owned(),
            source,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fresh: [u8; KEY_LEN] = entropy.bytes();
                write_private(path, &fresh).map_err(failed)?;
                fresh.to_vec()
            }
            Err(error) => return Err(failed(error)),
        };
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| SealError::KeyLength {
                path: path.to_owned(),
            })?;
        let root = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let key_for =
            |purpose| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose).as_ref());
        Ok(Sealer {
            key: LessSafeKey::new(key),
            fingerprints: key_for(FINGERPRINTS),
            derived: key_for(DERIVED),
        })
    }

    /// Seals `plain` so that it opens under the same `context` only: a row's key cannot be moved to another row.
    pub fn seal(&self, plain: &[u8], context: &str, entropy: &dyn Entropy) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut sealed = plain.to_vec();
        let aad = Aad::from(context.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("a key is far shorter than the algorithm's limit");
        let mut whole = vec![VERSION];
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        whole
    }

    pub fn open_sealed(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let foreign = || SealError::Foreign {
            context: context.to_owned(),
        };
        let (&version, rest) = sealed.split_first().ok_or_else(foreign)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(foreign)?;
        if version != VERSION {
            return Err(foreign());
        }
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut body);
        opened.map(|plain| plain.to_vec()).map_err(|_| foreign())
    }

    /// A mark of `plain` within `context`: equal values have equal marks. Nobody without the key can tell by it whether a
    /// guess is right.
    pub fn fingerprint(&self, plain: &[u8], context: &str) -> [u8; FINGERPRINT_LEN] {
        let tag = tag(&self.fingerprints, context, plain);
        *tag.first_chunk()
            .expect("a SHA-256 tag is longer than a fingerprint")
    }

    /// A key of its own for `name` within `context`, the same as long as the sealing key is.
    pub fn derive_key(&self, name: &[u8], context: &str) -> [u8; 32] {
        tag(&self.derived, context, name)
    }
}

fn tag(key: &hmac::Key, context: &str, text: &[u8]) -> [u8; 32] {
    let mut signed = hmac::Context::with_key(key);
    signed.update(&(context.len() as u64).to_be_bytes());
    signed.update(context.as_bytes());
    signed.update(text);
    let tag = signed.sign();
    tag.as_ref().try_into().expect("a SHA-256 tag has 32 bytes")
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mayfly_runtime::SystemEntropy;

    use super::*;

    #[test]
    fn opens_with_the_same_key_and_context_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        let sealer = Sealer::open(&path, &SystemEntropy).unwrap();
        let sealed = sealer.seal(b"secret", "certificate a", &SystemEntropy);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let again = Sealer::open(&path, &SystemEntropy).unwrap();
        assert_eq!(
            again.open_sealed(&sealed, "certificate a").unwrap(),
            b"secret"
        );
        assert!(again.open_sealed(&sealed, "certificate b").is_err());
        for cut in [0, 1, 12, sealed.len() - 1] {
            assert!(again.open_sealed(&sealed[..cut], "certificate a").is_err());
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Sealer::open(&folder.path().join("other"), &SystemEntropy).unwrap();
        assert!(other.open_sealed(&sealed, "certificate a").is_err());
        fs::write(&path, b"short").unwrap();
        assert!(matches!(
            Sealer::open(&path, &SystemEntropy),
            Err(SealError::KeyLength { .. })
        ));
    }

    #[test]
    fn fingerprints_tell_values_and_contexts_apart() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("a"), &SystemEntropy).unwrap();
        let mark = sealer.fingerprint(b"value", "app");
        assert_eq!(mark, sealer.fingerprint(b"value", "app"));
        assert_ne!(mark, sealer.fingerprint(b"other", "app"));
        assert_ne!(mark, sealer.fingerprint(b"value", "app2"));
        assert_ne!(sealer.fingerprint(b"pvalue", "ap"), mark);
        let other = Sealer::open(&folder.path().join("b"), &SystemEntropy).unwrap();
        assert_ne!(mark, other.fingerprint(b"value", "app"));
    }
}
