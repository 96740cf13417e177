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
        let mut nanos = 0_u64;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(invalid)?;
            let unit_end = rest[digits..]
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .map_or(rest.len(), |end| digits + end);
            let unit = match &rest[digits..unit_end] {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return Err(invalid()),
            };
            nanos = times(&rest[..digits], unit)
                .and_then(|more| nanos.checked_add(more))
                .ok_or_else(invalid)?;
            rest = &rest[unit_end..];
        }
        // Go keeps a span in 64 bits of nanoseconds, some 292 years.
        if nanos > i64::MAX as u64 {
            return Err(invalid());
        }
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// `count × unit` nanoseconds, exact; a part of a nanosecond is dropped, as Go drops it. `None` for what is not a decimal
/// number or does not fit.
fn times(count: &str, unit: u64) -> Option<u64> {
    let (whole, part) = count.split_once('.').unwrap_or((count, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let number = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u64>().ok(),
    };
    // 18 digits are finer than a nanosecond of any unit; digits that follow are only read to be digits.
    let seen = &part[..part.len().min(18)];
    let fits = part.bytes().all(|digit| digit.is_ascii_digit());
    let fraction = u128::from(number(seen)?) * u128::from(unit) / 10_u128.pow(seen.len() as u32);
    let whole = number(whole)?.checked_mul(unit)?;
    whole.checked_add(fraction as u64).filter(|_| fits)
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
                match i64::try_from(nanos) {
                    Ok(_) => Ok(GoDuration(Duration::from_nanos(nanos))),
                    Err(_) => Err(E::custom(InvalidDuration(nanos.to_string()))),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            (".5s", 500_000_000, "500ms"),
            ("5.s", 5_000_000_000, "5s"),
            ("1.0000000009999999999999s", 1_000_000_000, "1s"),
            (
                "2791h21m2.758304903s",
                10_048_862_758_304_903,
                "2791h21m2.758304903s",
            ),
            (
                "9223372036854775807ns",
                i64::MAX as u64,
                "2562047h47m16.854775807s",
            ),
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
            "1.2.3s",
            ".s",
            "9223372036854775808ns",
            "é",
            "9999999999h",
            "5 s",
        ] {
            assert!(wrong.parse::<GoDuration>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanos in 0..=i64::MAX as u64) {
            let span = GoDuration(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse::<GoDuration>().unwrap(), span);
        }
    }

    #[test]
    fn numbers_are_nanoseconds() {
        let span: GoDuration = serde_json::from_str("15000000000").unwrap();
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"15s\"");
        assert!(serde_json::from_str::<GoDuration>("9223372036854775808").is_err());
    }
}
