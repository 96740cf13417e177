use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// A name that breaks the rule for its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name `{text}` is not valid: {rule}")]
pub struct InvalidName {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub const RULE: &'static str = $rule;

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let holds: fn(&str) -> bool = $holds;
                if holds(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { kind: $kind, text: text.chars().take(80).collect(), rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        serde_as_text!($name);
    };
}

fn is_label(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

name!(
    /// An app's name: a DNS label, unique in the fleet.
    AppName,
    "app",
    "use 1 to 63 of a-z, 0-9 and -, with no - at either end",
    |text| is_label(text, 63)
);
name!(
    /// The short name of an organization, unique in the fleet.
    OrgSlug,
    "organization",
    "use 1 to 63 of a-z, 0-9 and -, with no - at either end",
    |text| is_label(text, 63)
);
name!(
    /// A machine's name, unique within its app and usable wherever its id is.
    MachineName,
    "machine",
    "use 1 to 63 of a-z, A-Z, 0-9, - and _, beginning with a letter or digit",
    |text| {
        let bytes = text.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    }
);
name!(
    /// An app secret's name: the environment variable that carries it.
    SecretName,
    "secret",
    "use 1 to 255 of A-Z, a-z, 0-9 and _, not beginning with a digit",
    |text| {
        let bytes = text.as_bytes();
        (1..=255).contains(&bytes.len())
            && !bytes[0].is_ascii_digit()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    }
);
name!(
    /// A region: the three-letter code of a place that hosts near each other share.
    Region,
    "region",
    "use three letters a-z",
    |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase())
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_at_their_edges() {
        for good in ["a", "my-app-2", &"a".repeat(63)] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Bad_Name", "a.b", &"a".repeat(64)] {
            let error = bad.parse::<AppName>().unwrap_err();
            assert!(error.to_string().contains("a-z"), "{error}");
        }
        assert!("iad".parse::<Region>().is_ok());
        assert!("iad2".parse::<Region>().is_err());
        assert!("dev-Ann_1".parse::<MachineName>().is_ok());
        assert!("_x".parse::<MachineName>().is_err());
        assert!("_DATABASE_URL2".parse::<SecretName>().is_ok());
        for bad in ["", "2A", "A-B", "A B", "Ä", &"A".repeat(256)] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
    }
}
