//! Dates of HTTP (RFC 9110, 5.6.7), in the form that is sent today.

const FORM: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// `None` before the year 1 or after 9999.
pub(super) fn format(seconds: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(seconds).ok()?;
    Some(timestamp.strftime(FORM).to_string())
}

/// Seconds since 1970.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let parsed = jiff::fmt::strtime::parse(FORM, text).ok()?;
    let civil = parsed.to_datetime().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}
