//! Durations as apps write them: `10s`, `800ms`, `1m30s`, `1.5s`.

use std::time::Duration;

/// Nobody waits longer for an answer.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// `None` for other texts, for zero, and for more than an hour.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let seconds_per_unit = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let count: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(count * seconds_per_unit).ok()?)?;
        rest = next;
    }
    (total > Duration::ZERO && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("800ms", 800),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)));
        }
        for bad in [
            "", "10", "s", "0s", "-1s", "1e9s", "10 s", "..s", "2h", "1d", "NaNs", "infs", "1s5",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
