//! Key exchange: curve25519 (RFC 8731) with an ed25519 host key, strict against inserted packets
//! (<https://github.com/openssh/openssh-portable/blob/master/PROTOCOL>, 1.10).

use std::io;

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::keys::{ED25519_NAME, HostKey};
use crate::packet::{Cipher, DirectionKey, bad};
use crate::wire::{Reader, Writer};

pub(crate) const KEXINIT: u8 = 20;
pub(crate) const NEWKEYS: u8 = 21;
pub(crate) const ECDH_INIT: u8 = 30;
const ECDH_REPLY: u8 = 31;

const METHODS: [&str; 2] = ["curve25519-sha256", "curve25519-sha256@libssh.org"];
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
/// Named and never used: the ciphers authenticate what they seal.
const MAC: &str = "hmac-sha2-256";

/// The first lines of both sides, without their ends.
pub(crate) struct Versions {
    pub(crate) client: String,
    pub(crate) server: String,
}

/// What both sides can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    incoming: Cipher,
    outgoing: Cipher,
    pub(crate) strict: bool,
    /// The client guessed what we would choose, wrongly: its next packet counts for nothing.
    pub(crate) skip_next: bool,
}

/// The outcome of one exchange.
pub(crate) struct Exchanged {
    /// The packet that tells the client.
    pub(crate) reply: Vec<u8>,
    /// Of the first exchange, the id of the session.
    pub(crate) hash: [u8; 32],
    pub(crate) incoming: DirectionKey,
    pub(crate) outgoing: DirectionKey,
}

/// Our side's list of methods, as a packet.
pub(crate) fn proposal() -> io::Result<Vec<u8>> {
    let mut cookie = [0; 16];
    SystemRandom::new()
        .fill(&mut cookie)
        .map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    let ciphers = Cipher::NAMES.join(",");
    Ok(Writer::message(KEXINIT)
        .raw(&cookie)
        .string([METHODS[0], METHODS[1], STRICT_SERVER].join(","))
        .string(ED25519_NAME)
        .string(&ciphers)
        .string(&ciphers)
        .string(MAC)
        .string(MAC)
        .string("none")
        .string("none")
        .string("")
        .string("")
        .boolean(false)
        .u32(0)
        .done())
}

/// The client's favourite of each kind that we can do as well.
pub(crate) fn choose(client_proposal: &[u8]) -> io::Result<Choice> {
    let mut reader = Reader::new(client_proposal);
    let malformed = |_| bad("a malformed key exchange");
    if reader.byte().map_err(malformed)? != KEXINIT {
        return Err(bad("no key exchange where there must be one"));
    }
    reader.take(16).map_err(malformed)?;
    let mut lists = Vec::with_capacity(10);
    for _ in 0..10 {
        lists.push(reader.names().map_err(malformed)?);
    }
    let guessed = reader.boolean().map_err(malformed)?;
    let first =
        |names: &[&str], ours: &[&str]| names.iter().find(|name| ours.contains(name)).is_some();
    if !first(&lists[0], &METHODS) {
        return Err(bad("the client cannot do curve25519-sha256"));
    }
    if !lists[1].contains(&ED25519_NAME) {
        return Err(bad("the client knows no ed25519 host keys"));
    }
    let cipher = |names: &[&str]| {
        let known = names.iter().find_map(|name| Cipher::named(name));
        known.ok_or_else(|| bad("the client has no cipher of ours"))
    };
    let guess_is_right = METHODS.contains(lists[0].first().unwrap_or(&""))
        && lists[1].first() == Some(&ED25519_NAME);
    Ok(Choice {
        incoming: cipher(&lists[2])?,
        outgoing: cipher(&lists[3])?,
        strict: lists[0].contains(&STRICT_CLIENT),
        skip_next: guessed && !guess_is_right,
    })
}

/// Answers the client's part of the key. `proposals` are the client's and ours; without a `session` this is the first.
pub(crate) fn answer(
    versions: &Versions,
    host_key: &HostKey,
    proposals: (&[u8], &[u8]),
    choice: &Choice,
    client_packet: &[u8],
    session: Option<[u8; 32]>,
) -> io::Result<Exchanged> {
    let mut reader = Reader::new(client_packet);
    let malformed = |_| bad("a malformed key exchange");
    if reader.byte().map_err(malformed)? != ECDH_INIT {
        return Err(bad("another packet amid a key exchange"));
    }
    let theirs = reader.string().map_err(malformed)?;
    let failed = |_| io::Error::other("make a key for the session");
    let secret = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(failed)?;
    let ours = secret.compute_public_key().map_err(failed)?;
    let peer = UnparsedPublicKey::new(&X25519, theirs);
    let shared = agree_ephemeral(secret, &peer, |shared| Writer::new().number(shared).done())
        .map_err(|_| bad("a key that cannot be used"))?;
    let host_blob = host_key.public().blob();
    let hashed = Writer::new()
        .string(&versions.client)
        .string(&versions.server)
        .string(proposals.0)
        .string(proposals.1)
        .string(&host_blob)
        .string(theirs)
        .string(&ours)
        .raw(&shared)
        .done();
    let hash = sha256(&[&hashed]);
    let reply = Writer::message(ECDH_REPLY)
        .string(&host_blob)
        .string(&ours)
        .string(host_key.sign(&hash))
        .done();
    let session = session.unwrap_or(hash);
    let derive = |letter: u8, length: usize| {
        let mut bytes = sha256(&[&shared, &hash, &[letter], &session]).to_vec();
        while bytes.len() < length {
            bytes.extend(sha256(&[&shared, &hash, &bytes]));
        }
        bytes.truncate(length);
        bytes
    };
    let direction = |cipher: Cipher, vector, key| DirectionKey {
        cipher,
        key: derive(key, cipher.key_length()),
        vector: derive(vector, cipher.vector_length()),
    };
    Ok(Exchanged {
        reply,
        hash,
        incoming: direction(choice.incoming, b'A', b'C'),
        outgoing: direction(choice.outgoing, b'B', b'D'),
    })
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest
        .as_ref()
        .try_into()
        .expect("the digest is 32 bytes long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(methods: &str, keys: &str, ciphers: &str, guessed: bool) -> Vec<u8> {
        let mut packet = Writer::message(KEXINIT)
            .raw(&[0; 16])
            .string(methods)
            .string(keys);
        for list in [ciphers, ciphers, "", "", "none", "none", "", ""] {
            packet = packet.string(list);
        }
        packet.boolean(guessed).u32(0).done()
    }

    #[test]
    fn the_client_s_favourites_are_taken() {
        let both = Cipher::NAMES.join(",");
        let choice = choose(&client(
            "sntrup,curve25519-sha256,kex-strict-c-v00@openssh.com",
            "ssh-rsa,ssh-ed25519",
            "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com",
            true,
        ))
        .unwrap();
        assert_eq!(choice.incoming, Cipher::Aes256Gcm);
        assert!(choice.strict && choice.skip_next);
        let right = choose(&client("curve25519-sha256", ED25519_NAME, &both, true)).unwrap();
        assert!(!right.strict && !right.skip_next);
        for (methods, keys, ciphers) in [
            ("ecdh-sha2-nistp256", ED25519_NAME, both.as_str()),
            ("curve25519-sha256", "ssh-rsa", both.as_str()),
            ("curve25519-sha256", ED25519_NAME, "aes128-cbc"),
        ] {
            assert!(choose(&client(methods, keys, ciphers, false)).is_err());
        }
        assert!(choose(&[KEXINIT, 1, 2]).is_err());
    }
}
