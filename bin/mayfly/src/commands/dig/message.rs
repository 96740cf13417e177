//! As much of DNS messages (RFC 1035) as asking one question and showing its answers takes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Record types that can be asked for.
pub(super) const TYPES: [(&str, u16); 8] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
];

const RECURSION: u16 = 0x0100;
const HEADER: usize = 12;
const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 253;
/// Names may point back; more often than this is a circle.
const POINTERS_MAX: usize = 32;

pub(super) fn type_number(name: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number)
}

pub(super) fn type_name(number: u16) -> String {
    let known = TYPES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("TYPE{number}"), |(name, _)| (*name).to_owned())
}

/// A question; `None` if `name` is none.
pub(super) fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let name = name.trim_end_matches('.');
    let flags = if name.ends_with(".internal") {
        0
    } else {
        RECURSION
    };
    let mut message = Vec::new();
    for word in [id, flags, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    if name.len() > NAME_MAX {
        return None;
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        message.push(u8::try_from(label.len()).ok()?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    Some(message)
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) id: u16,
    pub(super) code: u8,
    pub(super) records: Vec<Record>,
}

pub(super) struct Record {
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: String,
}

impl Record {
    /// Texts stand in quotes.
    pub(super) fn printed(&self) -> String {
        match type_name(self.kind).as_str() {
            "TXT" => format!("\"{}\"", self.data),
            _ => self.data.clone(),
        }
    }
}

impl Answer {
    pub(super) fn read(message: &[u8]) -> Option<Answer> {
        let questions = word(message, 4)?;
        let count = word(message, 6)?;
        let mut at = HEADER;
        for _ in 0..questions {
            at = name(message, at)?.1 + 4;
        }
        let mut records = Vec::new();
        for _ in 0..count {
            let (owner, end) = name(message, at)?;
            let kind = word(message, end)?;
            let ttl = u32::from(word(message, end + 4)?) << 16 | u32::from(word(message, end + 6)?);
            let length = usize::from(word(message, end + 8)?);
            let start = end + 10;
            at = start + length;
            records.push(Record {
                name: owner,
                kind,
                ttl,
                data: data(message, kind, start, message.get(start..at)?)?,
            });
        }
        Some(Answer {
            id: word(message, 0)?,
            code: message.get(3)? & 15,
            records,
        })
    }

    pub(super) fn code_name(&self) -> String {
        match self.code {
            0 => "NOERROR".to_owned(),
            1 => "FORMERR".to_owned(),
            2 => "SERVFAIL".to_owned(),
            3 => "NXDOMAIN".to_owned(),
            4 => "NOTIMP".to_owned(),
            5 => "REFUSED".to_owned(),
            other => format!("RCODE{other}"),
        }
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// The name at a place, and where what follows it begins.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let mut end = None;
    for _ in 0..POINTERS_MAX + 128 {
        let length = usize::from(*message.get(at)?);
        if length & 0xc0 == 0xc0 {
            end.get_or_insert(at + 2);
            at = usize::from(word(message, at)? & 0x3fff);
            continue;
        }
        if length == 0 {
            return Some((labels.join("."), end.unwrap_or(at + 1)));
        }
        let label = message.get(at + 1..at + 1 + length)?;
        labels.push(label.escape_ascii().to_string());
        at += 1 + length;
    }
    None
}

fn data(message: &[u8], kind: u16, start: usize, bytes: &[u8]) -> Option<String> {
    let named = |at: usize| name(message, at).map(|(name, _)| format!("{name}."));
    Some(match type_name(kind).as_str() {
        "A" => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        "AAAA" => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
        "NS" | "CNAME" | "PTR" => named(start)?,
        "MX" => format!("{} {}", word(message, start)?, named(start + 2)?),
        "SOA" => {
            let (primary, next) = name(message, start)?;
            format!("{primary}. {}", named(next)?)
        }
        "TXT" => {
            let (mut text, mut rest) = (String::new(), bytes);
            while let Some((length, after)) = rest.split_first() {
                let (piece, after) = after.split_at_checked(usize::from(*length))?;
                text.push_str(&String::from_utf8_lossy(piece));
                rest = after;
            }
            text
        }
        _ => bytes.escape_ascii().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_their_shortened_names() {
        let mut message = query(7, "web.internal.", 28).unwrap();
        message[7] = 2;
        for last in [1, 2] {
            message.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 5, 0, 16]);
            message.extend([0xfd, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        let answer = Answer::read(&message).unwrap();
        let shown: Vec<&str> = answer.records.iter().map(|one| one.data.as_str()).collect();
        assert_eq!(shown, ["fdaa::1", "fdaa::2"]);
        assert_eq!(answer.records[0].name, "web.internal");
        assert_eq!(
            (answer.records[0].ttl, answer.code_name()),
            (5, "NOERROR".into())
        );
        for length in 0..message.len() {
            assert!(
                Answer::read(&message[..length]).is_none(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn circles_and_bad_names_are_no_answers() {
        let mut message = query(7, "a.internal", 16).unwrap();
        message[7] = 1;
        let at = u8::try_from(message.len()).unwrap();
        message.extend([0xc0, at, 0, 16, 0, 1, 0, 0, 0, 5, 0, 2, 1, b'x']);
        assert!(Answer::read(&message).is_none());
        for name in ["", "a..b", &"x".repeat(64), &"abc.".repeat(80)] {
            assert!(query(1, name, 28).is_none(), "{name}");
        }
    }
}
