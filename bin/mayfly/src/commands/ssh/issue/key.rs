//! An ed25519 key and the file OpenSSH keeps one in
//! (<https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const KIND: &[u8] = b"ssh-ed25519";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const COLUMNS: usize = 70;
const BLOCK: usize = 8;

/// A key that was just made.
pub(super) struct FreshKey {
    seed: [u8; 32],
    public: [u8; 32],
    comment: String,
}

/// Appends one string of the protocol.
pub(super) fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("keys are short");
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(text);
}

impl FreshKey {
    pub(super) fn make(comment: &str) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the kernel has random bytes");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every seed is a key");
        let public = pair.public_key().as_ref();
        FreshKey {
            seed,
            public: public.try_into().expect("ed25519 keys are 32 bytes long"),
            comment: comment.to_owned(),
        }
    }

    fn public_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        string(&mut blob, KIND);
        string(&mut blob, &self.public);
        blob
    }

    pub(super) fn public_line(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.public_blob()))
    }

    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Private and public half, as the protocol has them.
    pub(super) fn both(&self) -> Vec<u8> {
        [self.seed, self.public].concat()
    }

    /// The content of the private key's file, not encrypted.
    pub(super) fn private_file(&self) -> String {
        let mut check = [0; 4];
        getrandom::fill(&mut check).expect("the kernel has random bytes");
        let mut inner = [check, check].concat();
        string(&mut inner, KIND);
        string(&mut inner, &self.public);
        string(&mut inner, &self.both());
        string(&mut inner, self.comment.as_bytes());
        let mut padding = 1;
        while inner.len() % BLOCK != 0 {
            inner.push(padding);
            padding += 1;
        }
        let mut whole = MAGIC.to_vec();
        string(&mut whole, b"none");
        string(&mut whole, b"none");
        string(&mut whole, b"");
        whole.extend(1u32.to_be_bytes());
        string(&mut whole, &self.public_blob());
        string(&mut whole, &inner);
        let text = STANDARD.encode(whole);
        let mut file = format!("{BEGIN}\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(COLUMNS.min(rest.len()));
            file.push_str(line);
            file.push('\n');
            rest = after;
        }
        file.push_str(END);
        file.push('\n');
        file
    }
}

/// Whether a file is a key with this comment.
pub(super) fn is_marked(file: &[u8], comment: &str) -> bool {
    let text = String::from_utf8_lossy(file);
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let decoded = STANDARD.decode(body).unwrap_or_default();
    decoded.starts_with(MAGIC)
        && decoded
            .windows(comment.len())
            .any(|part| part == comment.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_keys_are_known_again() {
        let key = FreshKey::make("made by a test");
        let file = key.private_file();
        assert!(file.starts_with(BEGIN) && file.ends_with(&format!("{END}\n")));
        assert!(is_marked(file.as_bytes(), "made by a test"));
        assert!(!is_marked(file.as_bytes(), "made by another"));
        assert!(!is_marked(b"made by a test", "made by a test"));
        assert_ne!(key.public_line(), FreshKey::make("x").public_line());
    }
}
