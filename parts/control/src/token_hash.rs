use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};

/// What is stored of a token or code: enough to recognise it, too little to use it. They are long and random, so a
/// plain hash cannot be guessed backwards.
pub(crate) fn token_hash(token: &str) -> Digest {
    Digest::from_sha256(Sha256::digest(token.as_bytes()).into())
}
