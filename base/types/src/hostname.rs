use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// A host name of the public DNS in lower case, without a dot at the end: `www.example.com`, or `*.example.com` for
/// every name one label below.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// A text that is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host name: {rule}")]
pub struct InvalidHostname {
    pub text: String,
    pub rule: &'static str,
}

impl Hostname {
    /// The longest a name may be (RFC 1035, 2.3.4), as text.
    pub const LONGEST: usize = 253;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without `*.`.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The wildcard that holds this name too, if the name has a label to spare.
    pub fn covering_wildcard(&self) -> Option<Hostname> {
        let (_, parent) = self.0.split_once('.')?;
        (!self.is_wildcard() && parent.contains('.')).then(|| Hostname(format!("*.{parent}")))
    }

    /// Whether this name is `zone` or lies below it.
    pub fn is_within(&self, zone: &str) -> bool {
        let above = self.base().strip_suffix(zone);
        above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    if !name.is_ascii() {
        return Some("write names with other letters in their xn-- form");
    }
    if name.is_empty() || name.len() > Hostname::LONGEST {
        return Some("use 1 to 253 characters");
    }
    let base = name.strip_prefix("*.").unwrap_or(name);
    if base.contains('*') {
        return Some("`*` may only be the whole first label, as in *.example.com");
    }
    let labels: Vec<&str> = base.split('.').collect();
    let label_holds = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    if !labels.iter().all(label_holds) {
        return Some("use labels of 1 to 63 letters, digits, - and _ with dots between them");
    }
    if labels.len() < 2 {
        return Some("a name needs at least two labels, as in example.com");
    }
    let last = labels.last().expect("there are two");
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("an address is not a name");
    }
    None
}

impl FromStr for Hostname {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, InvalidHostname> {
        let lower = text.trim().to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        match broken_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(rule) => Err(InvalidHostname {
                text: text.chars().take(80).collect(),
                rule,
            }),
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hostname({})", self.0)
    }
}

serde_as_text!(Hostname);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_one_form() {
        for (text, name) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            (" *.Example.com ", "*.example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<Hostname>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_rule() {
        for (text, word) in [
            ("", "253"),
            ("example", "two labels"),
            ("*.com", "two labels"),
            ("*", "first label"),
            ("a.*.com", "first label"),
            ("**.example.com", "first label"),
            ("bücher.example", "xn--"),
            ("-a.example.com", "labels"),
            ("a..example.com", "labels"),
            ("a b.example.com", "labels"),
            ("https://example.com/", "labels"),
            ("example.com:443", "labels"),
            ("192.0.2.1", "address"),
            ("2001:db8::1", "labels"),
        ] {
            let error = text.parse::<Hostname>().unwrap_err();
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
        assert!(
            format!("{}.com", "a.".repeat(130))
                .parse::<Hostname>()
                .is_err()
        );
    }

    #[test]
    fn a_name_knows_its_wildcard_and_zone() {
        let name = |text: &str| text.parse::<Hostname>().unwrap();
        assert_eq!(
            name("www.example.com").covering_wildcard(),
            Some(name("*.example.com"))
        );
        assert_eq!(name("example.com").covering_wildcard(), None);
        assert_eq!(name("*.example.com").covering_wildcard(), None);
        assert!(name("a.example.com").is_within("example.com"));
        assert!(name("*.example.com").is_within("example.com"));
        assert!(!name("badexample.com").is_within("example.com"));
    }
}
