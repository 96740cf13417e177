use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::serde_as_text;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: expected {expected}")]
pub struct InvalidId {
    pub kind: &'static str,
    pub text: String,
    pub expected: &'static str,
}

/// Lower-case hexadecimal ids of a fixed number of digits, minted from random bytes that the caller supplies.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $digits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $digits]);

        impl $name {
            /// Makes an id from random bytes; equal bytes make equal ids.
            pub fn from_random(bytes: [u8; $digits]) -> Self {
                Self(bytes.map(|byte| b"0123456789abcdef"[usize::from(byte & 15)]))
            }

            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("an id holds hexadecimal digits only")
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId {
                    kind: $kind,
                    text: text.chars().take(80).collect(),
                    expected: concat!(stringify!($digits), " lower-case hexadecimal digits"),
                };
                let bytes: [u8; $digits] = text.as_bytes().try_into().map_err(|_| invalid())?;
                if bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    Ok(Self(bytes))
                } else {
                    Err(invalid())
                }
            }
        }

        text_id!($name);
    };
}

/// The text traits every id shares once it has `as_str` and `FromStr`.
macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        serde_as_text!($name);
    };
}

hex_id!(
    /// A machine: the long-lived thing that users create, update and destroy. 14 hexadecimal digits, as in URLs and DNS names.
    MachineId, "machine", 14
);
hex_id!(
    /// An organization, the owner of apps and networks.
    OrgId, "organization", 16
);
hex_id!(
    /// An app.
    AppId, "app", 16
);
hex_id!(
    /// A person or robot that owns tokens.
    UserId, "user", 16
);
hex_id!(
    /// A token, by the id that lists show and revoking takes; the token's text is never stored.
    TokenId, "token", 16
);
hex_id!(
    /// An enrolled host. Eight digits, since it is part of every private address (32 bits).
    HostId, "host", 8
);
hex_id!(
    /// One recorded deployment of an app.
    ReleaseId, "release", 16
);
hex_id!(
    /// A durable piece of multi-step work.
    OperationId, "operation", 16
);
hex_id!(
    /// One start of a machine's body; everything the start makes carries it, so that a repeated start finds it.
    LaunchId, "launch", 12
);
/// A volume: disk space that outlives the machines it is mounted in. `vol_` and 16 lower-case letters or digits, as clients
/// tell them from names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId([u8; 20]);

impl VolumeId {
    const PREFIX: &[u8; 4] = b"vol_";

    /// Makes an id from random bytes; equal bytes make equal ids.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut text = [0; 20];
        text[..4].copy_from_slice(Self::PREFIX);
        text[4..].copy_from_slice(&bytes.map(|byte| DIGITS[usize::from(byte) % DIGITS.len()]));
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a volume id holds ASCII only")
    }
}

impl FromStr for VolumeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            kind: "volume",
            text: text.chars().take(80).collect(),
            expected: "vol_ and 16 lower-case letters or digits",
        };
        let bytes: [u8; 20] = text.as_bytes().try_into().map_err(|_| invalid())?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z');
        if bytes.starts_with(Self::PREFIX) && bytes[4..].iter().all(is_digit) {
            Ok(Self(bytes))
        } else {
            Err(invalid())
        }
    }
}

text_id!(VolumeId);

/// A private network of an organization: 32 bits of every address on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkId(pub u32);

/// Position in the control plane's event log. Starts at 1 and only grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventSeq(pub i64);

/// Position in one host's journal of reported changes. Starts at 1 and only grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct HostSeq(pub i64);

/// A machine version: a ULID, 26 characters that sort by the time they were made.
///
/// Layout and alphabet: <https://github.com/ulid/spec>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId([u8; 26]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl InstanceId {
    /// Makes a version id from the time it is made and 80 random bits.
    pub fn new(now: crate::Timestamp, random: [u8; 10]) -> Self {
        let mut bits = u128::from(now.as_millis().max(0).unsigned_abs() & 0xffff_ffff_ffff) << 80;
        for (index, byte) in random.iter().enumerate() {
            bits |= u128::from(*byte) << (8 * (9 - index));
        }
        let mut text = [0; 26];
        for (index, slot) in text.iter_mut().enumerate() {
            let shift = 5 * (25 - index);
            *slot = CROCKFORD[((bits >> shift) & 31) as usize];
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a ULID holds ASCII only")
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            kind: "machine version",
            text: text.chars().take(80).collect(),
            expected: "a ULID of 26 characters",
        };
        let bytes: [u8; 26] = text.as_bytes().try_into().map_err(|_| invalid())?;
        if bytes.iter().all(|byte| CROCKFORD.contains(byte)) {
            Ok(Self(bytes))
        } else {
            Err(invalid())
        }
    }
}

text_id!(InstanceId);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn ids_keep_their_text_and_refuse_others() {
        let id: MachineId = "e784079f004d86".parse().unwrap();
        assert_eq!(id.to_string(), "e784079f004d86");
        for wrong in [
            "",
            "e784079f004d8",
            "e784079f004d867",
            "E784079f004d86",
            "e784079f004d8é",
        ] {
            assert!(wrong.parse::<MachineId>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"e784079f004d86\"");
    }

    #[test]
    fn volumes_are_told_by_their_prefix() {
        let id = VolumeId::from_random(std::array::from_fn(|index| 20 + index as u8));
        assert_eq!(id.to_string(), "vol_klmnopqrstuvwxyz");
        assert_eq!(id.as_str().parse(), Ok(id));
        for wrong in [
            "",
            "vol_",
            "data",
            "klmnopqrstuvwxyz",
            "vol_klmnopqrstuvwxy",
            "vol_klmnopqrstuvwxyZ",
            "vol_klmnopqrstuvwx/..",
        ] {
            assert!(wrong.parse::<VolumeId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_sort_by_time_and_match_the_ulid_layout() {
        // 1469918176385 ms is the time part of the example in the ULID specification: 01ARYZ6S41.
        let early = InstanceId::new(Timestamp::from_millis(1_469_918_176_385), [0; 10]);
        let late = InstanceId::new(Timestamp::from_millis(1_469_918_176_386), [0; 10]);
        assert_eq!(early.as_str(), "01ARYZ6S410000000000000000");
        assert!(early < late);
        assert_eq!(late.as_str().parse::<InstanceId>().unwrap(), late);
    }
}
