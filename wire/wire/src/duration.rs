use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time as Go writes it (`1m21s`, `500ms`); on input a bare number counts nanoseconds.
///
/// Grammar: <https://pkg.go.dev/time#ParseDuration>. Negative spans do not occur in the API and are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

/// A text that is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration, such as \"15s\", \"1m30s\" or \"500ms\"")]
pub struct InvalidDuration(String);

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.chars().take(40).collect());
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut nanos: f64 = 0.0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(invalid)?;
            let count: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            let unit_end = rest[digits..]
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .map_or(rest.len(), |end| digits + end);
            let unit = match &rest[digits..unit_end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(invalid()),
            };
            nanos += count * unit;
            rest = &rest[unit_end..];
        }
        // Go keeps a span in 64 bits of nanoseconds, some 292 years.
        if nanos > i64::MAX as f64 {
            return Err(invalid());
        }
        Ok(Self(Duration::from_nanos(nanos.round() as u64)))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, name) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(nanos, unit));
        }
        let (hours, minutes) = (self.0.as_secs() / 3600, self.0.as_secs() / 60 % 60);
        let seconds = nanos % 60_000_000_000;
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(seconds, 1_000_000_000))
    }
}

/// `count / unit` with as many decimals as it has.
fn decimal(count: u128, unit: u128) -> String {
    let (whole, part) = (count / unit, count % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let text = format!("{whole}.{part:0width$}");
    text.trim_end_matches('0').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration, such as \"15s\", or a number of nanoseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<GoDuration, E> {
                Ok(GoDuration(Duration::from_nanos(nanos)))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_and_write_as_go_does() {
        for (text, nanos, written) in [
            ("15s", 15_000_000_000_u64, "15s"),
            ("1m21s", 81_000_000_000, "1m21s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("500ms", 500_000_000, "500ms"),
            ("2500ms", 2_500_000_000, "2.5s"),
            ("1us500ns", 1_500, "1.5µs"),
            ("0", 0, "0s"),
        ] {
            let span: GoDuration = text.parse().unwrap();
            assert_eq!(span.0.as_nanos(), u128::from(nanos), "{text}");
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse::<GoDuration>().unwrap(), span);
        }
        for wrong in [
            "",
            "15",
            "s",
            "-5s",
            "1x",
            "1..2s",
            "é",
            "9999999999h",
            "5 s",
        ] {
            assert!(wrong.parse::<GoDuration>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_nanoseconds() {
        let span: GoDuration = serde_json::from_str("15000000000").unwrap();
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"15s\"");
    }
}
