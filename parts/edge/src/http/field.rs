//! Header fields: where they lie in a head's bytes and what the edge must know about their names.

use std::ops::Range;

/// One header line as positions in the head's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a field's name means to the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Passed on as it came.
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    /// Of one connection only (RFC 9110, 7.6.1), or listed in `Connection`.
    Hop,
    Upgrade,
    Te,
    Accept,
    Expect,
    ForwardedFor,
    ForwardedPort,
    /// Set by the edge alone; a client's own is dropped.
    Ours,
    /// A client's word on where its request shall go.
    Routing,
    TraceParent,
    Server,
    Via,
    RequestId,
    /// A machine's order to replay the request.
    Replay,
    /// A machine's word to the edge on remembering a replay.
    ReplayCache,
    ContentType,
    ContentEncoding,
}

/// The meaning of a name in any case.
///
/// Programs behind CGI-like interfaces cannot tell `_` from `-`. A name that is one of ours when read that way is
/// never passed on.
pub(crate) fn classify(name: &[u8]) -> Kind {
    let known = by_length(name.len());
    // Most names differ in their first letter from all that are known.
    let first = name.first().map(u8::to_ascii_lowercase);
    for (other, kind) in known {
        if first == other.as_bytes().first().copied() && is_known(name, other.as_bytes()) {
            return *kind;
        }
    }
    let alike = |other: &str| {
        name.iter().zip(other.as_bytes()).all(|(a, b)| {
            let folded = if *a == b'_' {
                b'-'
            } else {
                a.to_ascii_lowercase()
            };
            folded == *b
        })
    };
    if name.contains(&b'_')
        && known
            .iter()
            .any(|(other, kind)| must_not_be_forged(*kind) && alike(other))
    {
        return Kind::Hop;
    }
    Kind::Other
}

/// Whether `name` is the known one of the same length in any case. Letters differ from their capitals by one bit, and
/// nothing that differs by that bit from the digits and hyphens of known names may stand in a name.
fn is_known(name: &[u8], known: &[u8]) -> bool {
    const CASE: u8 = 0x20;
    let differing = name.iter().zip(known).fold(0, |differing, (byte, known)| {
        differing | ((byte | CASE) ^ known)
    });
    differing == 0
}

fn must_not_be_forged(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Host
            | Kind::ContentLength
            | Kind::TransferEncoding
            | Kind::Connection
            | Kind::Hop
            | Kind::Upgrade
            | Kind::ForwardedFor
            | Kind::ForwardedPort
            | Kind::Ours
            | Kind::RequestId
    )
}

fn by_length(length: usize) -> &'static [(&'static str, Kind)] {
    match length {
        2 => &[("te", Kind::Te)],
        3 => &[("via", Kind::Via)],
        4 => &[("host", Kind::Host)],
        6 => &[
            ("accept", Kind::Accept),
            ("expect", Kind::Expect),
            ("server", Kind::Server),
        ],
        7 => &[("upgrade", Kind::Upgrade)],
        10 => &[
            ("connection", Kind::Connection),
            ("keep-alive", Kind::Hop),
            ("fly-region", Kind::Ours),
            ("fly-replay", Kind::Replay),
        ],
        11 => &[("traceparent", Kind::TraceParent)],
        12 => &[("content-type", Kind::ContentType)],
        13 => &[("fly-client-ip", Kind::Ours)],
        14 => &[
            ("content-length", Kind::ContentLength),
            ("fly-request-id", Kind::RequestId),
            ("fly-replay-src", Kind::Ours),
            ("http2-settings", Kind::Hop),
        ],
        15 => &[
            ("x-forwarded-for", Kind::ForwardedFor),
            ("x-forwarded-ssl", Kind::Ours),
            ("x-request-start", Kind::Ours),
            ("fly-traceparent", Kind::Ours),
        ],
        16 => &[
            ("x-forwarded-port", Kind::ForwardedPort),
            ("proxy-connection", Kind::Hop),
            ("content-encoding", Kind::ContentEncoding),
            ("fly-force-region", Kind::Routing),
            ("fly-replay-cache", Kind::ReplayCache),
        ],
        17 => &[
            ("transfer-encoding", Kind::TransferEncoding),
            ("x-forwarded-proto", Kind::Ours),
            ("fly-forwarded-ssl", Kind::Ours),
            ("fly-replay-failed", Kind::Ours),
            ("fly-prefer-region", Kind::Routing),
        ],
        18 => &[
            ("fly-forwarded-port", Kind::Ours),
            ("proxy-authenticate", Kind::Hop),
        ],
        19 => &[
            ("fly-forwarded-proto", Kind::Ours),
            ("proxy-authorization", Kind::Hop),
        ],
        21 => &[("fly-force-instance-id", Kind::Routing)],
        22 => &[("fly-prefer-instance-id", Kind::Routing)],
        23 => &[("fly-replay-cache-status", Kind::Ours)],
        24 => &[("fly-replay-cache-control", Kind::Routing)],
        25 => &[("fly-replay-cache-ttl-secs", Kind::ReplayCache)],
        29 => &[("fly-replay-cache-allow-bypass", Kind::ReplayCache)],
        34 => &[("fly-preferred-instance-unavailable", Kind::Ours)],
        _ => &[],
    }
}

/// Fills `fields` with where the parsed headers lie in `bytes`.
pub(crate) fn locate(bytes: &[u8], headers: &[httparse::Header<'_>], fields: &mut Vec<Field>) {
    let range = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + part.len()
    };
    fields.clear();
    fields.extend(headers.iter().map(|header| Field {
        name: range(header.name.as_bytes()),
        value: range(header.value),
        kind: classify(header.name.as_bytes()),
    }));
}

/// Digits only: a sign, a space or a list would be read differently elsewhere.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |value, digit| value * 10 + u64::from(*digit - b'0')),
    )
}

/// Whether `needle`, lower case, occurs in `haystack` in any case.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

/// The members of a comma-separated value.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_disguise() {
        for length in 0..64 {
            for (name, kind) in by_length(length) {
                assert_eq!(name.len(), length, "{name} stands at the wrong length");
                assert_eq!(classify(name.to_uppercase().as_bytes()), *kind, "{name}");
            }
        }
        for forged in [
            "Fly_Client_IP",
            "CONTENT_LENGTH",
            "x-forwarded_for",
            "transfer_encoding",
        ] {
            assert_eq!(classify(forged.as_bytes()), Kind::Hop, "{forged}");
        }
        for harmless in ["x_custom", "content_type", "fly-machine", ""] {
            assert!(
                matches!(classify(harmless.as_bytes()), Kind::Other),
                "{harmless}"
            );
        }
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        let may_stand_in_a_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let bytes: Vec<u8> = (0..=u8::MAX).filter(may_stand_in_a_name).collect();
        for (known, _) in (0..64).flat_map(by_length) {
            for place in 0..known.len() {
                for byte in &bytes {
                    let mut name = known.as_bytes().to_vec();
                    name[place] = *byte;
                    let same = name.eq_ignore_ascii_case(known.as_bytes());
                    assert_eq!(
                        is_known(&name, known.as_bytes()),
                        same,
                        "{known} {place} {byte}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(
            decimal(b"9999999999999999999"),
            Some(9_999_999_999_999_999_999)
        );
        for wrong in [
            &b""[..],
            b"+1",
            b"1 ",
            b"0x1",
            b"1,1",
            b"99999999999999999999",
        ] {
            assert_eq!(decimal(wrong), None);
        }
    }
}
