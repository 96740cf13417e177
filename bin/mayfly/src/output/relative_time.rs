use mayfly_types::Timestamp;

/// How long ago `at` was, seen from `now`, as upstream says it; far times as a date.
pub(crate) fn relative_time(at: Timestamp, now: Timestamp) -> String {
    let ago = if at <= now { " ago" } else { "" };
    let seconds = now.since(at).max(at.since(now)).as_secs();
    match (seconds, ago) {
        (0, " ago") => "just now".to_owned(),
        (0..60, _) => format!("{seconds}s{ago}"),
        (60..3_600, _) => format!("{}m{}s{ago}", seconds / 60, seconds % 60),
        (3_600..86_400, _) => format!("{}h{}m{ago}", seconds / 3_600, seconds / 60 % 60),
        _ => jiff::Timestamp::from_millisecond(at.as_millis())
            .map(|time| time.strftime("%b %-d %Y %H:%M").to_string())
            .unwrap_or_else(|_| at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_times_are_spans_and_far_ones_dates() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (at, said) in [
            ("2026-11-21T12:00:00Z", "just now"),
            ("2026-11-21T11:59:18Z", "42s ago"),
            ("2026-11-21T11:55:30Z", "4m30s ago"),
            ("2026-11-21T09:30:00Z", "2h30m ago"),
            ("2026-11-01T09:05:00Z", "Nov 1 2026 09:05"),
            ("2026-11-21T12:01:05Z", "1m5s"),
        ] {
            assert_eq!(relative_time(at.parse().unwrap(), now), said);
        }
    }
}
