use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};

/// The tokens an `Authorization` header presents, in order.
///
/// Clients send `Bearer x`, `FlyV1 x`, `Bearer FlyV1 x`, and any of these as a list divided by commas.
pub(crate) fn presented_tokens(header: &str) -> impl Iterator<Item = &str> {
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

/// What is stored of a token: enough to recognise it, too little to use it. Tokens are long and random, so a plain
/// hash cannot be guessed backwards.
pub(crate) fn token_hash(token: &str) -> Digest {
    Digest::from_sha256(Sha256::digest(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_clients_is_understood() {
        for (header, tokens) in [
            ("Bearer one", vec!["one"]),
            ("FlyV1 one", vec!["one"]),
            ("Bearer FlyV1 one", vec!["one"]),
            ("bearer one,two", vec!["one", "two"]),
            (
                "FlyV1 fm2_a, FlyV1 fm2_b,Bearer c",
                vec!["fm2_a", "fm2_b", "c"],
            ),
            ("one", vec!["one"]),
            ("Bearer ", vec!["Bearer"]),
            ("", vec![]),
        ] {
            assert_eq!(
                presented_tokens(header).collect::<Vec<_>>(),
                tokens,
                "{header}"
            );
        }
    }
}
