use std::fmt;
use std::str::FromStr;

use mayfly_types::{HostId, Secret};
use serde::{Deserialize, Serialize};

use crate::feed::Hello;

/// What lets one server join, and tells it whom it joins: the fingerprint of the authority that every server of the
/// fleet has its certificate from. Without it a stranger in between could answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    pub secret: Secret,
    /// SHA-256 of the root certificate, in hexadecimal digits.
    pub authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no join token: expected what `mayfly hosts token` printed (mfj1_…)")]
pub struct InvalidJoinToken;

const PREFIX: &str = "mfj1_";
const SECRET_DIGITS: usize = 32;
const DIGEST_DIGITS: usize = 64;

impl JoinToken {
    /// The text to be carried to the other server.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}{}", self.secret.reveal(), self.authority)
    }

    /// A secret of 128 random bits.
    pub fn secret_from(random: [u8; 16]) -> Secret {
        Secret::new(random.map(|byte| format!("{byte:02x}")).concat())
    }
}

impl FromStr for JoinToken {
    type Err = InvalidJoinToken;

    fn from_str(text: &str) -> Result<Self, InvalidJoinToken> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(InvalidJoinToken)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != SECRET_DIGITS + DIGEST_DIGITS || !digits.bytes().all(is_digit) {
            return Err(InvalidJoinToken);
        }
        let (secret, authority) = digits.split_at(SECRET_DIGITS);
        Ok(Self {
            secret: Secret::new(secret),
            authority: authority.to_owned(),
        })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a join token")
    }
}

/// A server asks to become one of the fleet. The same request may be repeated with the same key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    pub secret: Secret,
    /// A certificate request (PKCS #10) in PEM; of it only the key is heeded.
    pub request: String,
    pub hello: Hello,
}

/// The server is one of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The server's name, as minted by its first host.
    pub server: HostId,
    /// PEM, leaf first.
    pub chain: String,
    /// Apps are reached as `<app>.<domain>`.
    pub domain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAnswer {
    pub chain: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_others_are_refused() {
        let token = JoinToken {
            secret: JoinToken::secret_from([0xa7; 16]),
            authority: "0f".repeat(32),
        };
        let text = token.text();
        assert_eq!(text.parse::<JoinToken>(), Ok(token));
        for wrong in ["", "mfj1_", &text[1..], &text[..text.len() - 1], "mfj1_é"] {
            assert_eq!(wrong.parse::<JoinToken>(), Err(InvalidJoinToken), "{wrong}");
        }
    }
}
