//! What of a file is sent: all, a part, or only word that the client's copy is good.

use super::date;

/// A file's validators and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Representation {
    /// Strong, with quotes.
    pub(super) etag: String,
    pub(super) modified: i64,
    pub(super) length: u64,
}

/// The conditional fields of a request, each as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions<'a> {
    pub(super) if_match: Option<&'a [u8]>,
    pub(super) if_none_match: Option<&'a [u8]>,
    pub(super) if_modified_since: Option<&'a [u8]>,
    pub(super) if_unmodified_since: Option<&'a [u8]>,
    pub(super) if_range: Option<&'a [u8]>,
    pub(super) range: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Send {
    Whole,
    /// First and last byte.
    Part {
        first: u64,
        last: u64,
    },
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
}

/// Source of the order: RFC 9110, 13.2.2.
pub(super) fn decide(conditions: Conditions<'_>, file: &Representation) -> Send {
    if let Some(tags) = conditions.if_match {
        if !names(tags, &file.etag, false) {
            return Send::PreconditionFailed;
        }
    } else if let Some(since) = conditions.if_unmodified_since.and_then(date::parse)
        && file.modified > since
    {
        return Send::PreconditionFailed;
    }
    if let Some(tags) = conditions.if_none_match {
        if names(tags, &file.etag, true) {
            return Send::NotModified;
        }
    } else if let Some(since) = conditions.if_modified_since.and_then(date::parse)
        && file.modified <= since
    {
        return Send::NotModified;
    }
    let Some(range) = conditions.range else {
        return Send::Whole;
    };
    let current = conditions.if_range.is_none_or(|validator| {
        let validator = validator.trim_ascii();
        validator == file.etag.as_bytes() || date::parse(validator) == Some(file.modified)
    });
    if current {
        part(range, file.length)
    } else {
        Send::Whole
    }
}

/// Whether a list of tags names this one; `weak` also takes a tag marked as weak.
fn names(tags: &[u8], etag: &str, weak: bool) -> bool {
    tags.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| {
            let strong = tag.strip_prefix(b"W/");
            tag == b"*"
                || tag == etag.as_bytes()
                || (weak && strong.is_some_and(|tag| tag == etag.as_bytes()))
        })
}

/// One range; whatever else is asked for is answered with everything (RFC 9110, 14.2).
fn part(range: &[u8], length: u64) -> Send {
    let Some((first, last)) = std::str::from_utf8(range)
        .ok()
        .and_then(|text| text.trim().strip_prefix("bytes="))
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.split_once('-'))
    else {
        return Send::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (None, Some(count)) if first.is_empty() => {
            if count == 0 {
                return Send::RangeNotSatisfiable;
            }
            (length.saturating_sub(count), u64::MAX)
        }
        _ => return Send::Whole,
    };
    if first >= length {
        return Send::RangeNotSatisfiable;
    }
    Send::Part {
        first,
        last: last.min(length - 1),
    }
}
