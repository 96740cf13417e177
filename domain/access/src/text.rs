use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::macaroon::{InvalidMacaroon, Macaroon, PREFIX};

/// The prefixes of this format and of the one before it.
const PREFIXES: [&str; 3] = [PREFIX, "fm1r_", "fm1a_"];

/// Why a text is no macaroon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMacaroon {
    #[error("a macaroon begins with fm2_")]
    Prefix,
    #[error("what follows fm2_ is not base64")]
    Base64,
    #[error(transparent)]
    Content(#[from] InvalidMacaroon),
}

/// Whether a token is one of these, rather than an opaque one such as `fo1_…`.
pub fn is_macaroon(token: &str) -> bool {
    PREFIXES.iter().any(|prefix| token.starts_with(prefix))
}

/// The tokens an `Authorization` header presents, in order, without the word before them.
///
/// Clients send `Bearer x`, `FlyV1 x`, `Bearer FlyV1 x`, and any of these as a list divided by commas.
pub fn presented_tokens(header: &str) -> impl Iterator<Item = &str> {
    header
        .split(',')
        .map(bare)
        .filter(|token| !token.is_empty())
}

fn bare(item: &str) -> &str {
    let mut item = item.trim();
    while let Some((scheme, rest)) = item.split_once(' ') {
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("flyv1") {
            break;
        }
        item = rest.trim_start();
    }
    item
}

/// As clients are given them and send them: `FlyV1 fm2_…,fm2_…`.
pub fn header_of<'a>(tokens: impl IntoIterator<Item = &'a Macaroon>) -> String {
    let texts: Vec<String> = tokens.into_iter().map(Macaroon::text).collect();
    format!("FlyV1 {}", texts.join(","))
}

impl std::str::FromStr for Macaroon {
    type Err = NotAMacaroon;

    fn from_str(text: &str) -> Result<Macaroon, NotAMacaroon> {
        let prefix = PREFIXES.iter().find(|prefix| text.starts_with(**prefix));
        let encoded = &text[prefix.ok_or(NotAMacaroon::Prefix)?.len()..];
        let bytes = STANDARD.decode(encoded).map_err(|_| NotAMacaroon::Base64)?;
        Ok(Macaroon::decode(&bytes)?)
    }
}
