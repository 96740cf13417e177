//! DNS messages: reading a query, writing an answer.
//!
//! Formats: RFC 1035 section 4, RFC 6891 (EDNS). Only what a server of a few record types needs; answers that come from
//! elsewhere are passed on as bytes, see [`crate::forward`].

use std::net::Ipv6Addr;

pub(crate) const TYPE_PTR: u16 = 12;
pub(crate) const TYPE_SOA: u16 = 6;
pub(crate) const TYPE_TXT: u16 = 16;
pub(crate) const TYPE_AAAA: u16 = 28;
pub(crate) const TYPE_OPT: u16 = 41;
pub(crate) const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;

/// Length of a message's header.
pub(crate) const HEADER: usize = 12;
/// What a client without EDNS can take by UDP.
const PLAIN_PAYLOAD: u16 = 512;
/// What we send by UDP at most: fits every path without fragments (<https://dnsflagday.net/2020/>).
const PAYLOAD_MAX: u16 = 1232;

const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const CD: u16 = 0x0010;
const OPCODE: u16 = 0x7800;

/// How a query went; numbers of RFC 1035 section 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    pub(crate) id: u16,
    flags: u16,
    /// Name, type and class as they came, to be repeated in the answer.
    pub(crate) question: &'a [u8],
    /// Labels in lower case, joined by dots; a byte that is not printable ASCII, or a dot within a label, is `\ddd`.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    edns: Option<Edns>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edns {
    payload: u16,
    version: u8,
}

/// A message that is no query we can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not even an error can be sent: too short, or itself an answer.
    Ignore,
    Refuse {
        id: u16,
        flags: u16,
        rcode: Rcode,
    },
}

impl<'a> Query<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Query<'a>, Unreadable> {
        let word = |at: usize| -> Option<u16> {
            Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
        };
        let (Some(id), Some(flags)) = (word(0), word(2)) else {
            return Err(Unreadable::Ignore);
        };
        if bytes.len() < HEADER || flags & QR != 0 {
            return Err(Unreadable::Ignore);
        }
        let refuse = |rcode| Unreadable::Refuse { id, flags, rcode };
        if flags & OPCODE != 0 {
            return Err(refuse(Rcode::NotImplemented));
        }
        let malformed = || refuse(Rcode::FormatError);
        if word(4) != Some(1) {
            return Err(malformed());
        }
        let (name, end) = name(bytes, HEADER).ok_or_else(malformed)?;
        let kind = word(end).ok_or_else(malformed)?;
        let class = word(end + 2).ok_or_else(malformed)?;
        let mut at = end + 4;
        let mut edns = None;
        let records = [6, 8, 10].map(|at| usize::from(word(at).unwrap_or(0)));
        for _ in 0..records.iter().sum::<usize>() {
            let record = Record::read(bytes, at).ok_or_else(malformed)?;
            if record.kind == TYPE_OPT {
                if edns.is_some() {
                    return Err(malformed());
                }
                edns = Some(Edns {
                    payload: record.class,
                    version: (record.ttl >> 16) as u8,
                });
            }
            at = record.end;
        }
        Ok(Query {
            id,
            flags,
            question: &bytes[HEADER..end + 4],
            name,
            kind,
            class,
            edns,
        })
    }

    pub(crate) fn is_internet(&self) -> bool {
        self.class == CLASS_IN || self.class == TYPE_ANY
    }

    /// EDNS of a version nobody has defined.
    pub(crate) fn has_bad_version(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version != 0)
    }

    pub(crate) fn wants_recursion(&self) -> bool {
        self.flags & RD != 0
    }

    /// What the asker takes by UDP, in bytes.
    pub(crate) fn payload(&self) -> usize {
        let offered = self.edns.map_or(PLAIN_PAYLOAD, |edns| edns.payload);
        usize::from(offered.clamp(PLAIN_PAYLOAD, PAYLOAD_MAX))
    }

    /// What besides the question decides the answer of another server: EDNS or not, and "checking disabled".
    pub(crate) fn variant(&self) -> u8 {
        u8::from(self.edns.is_some()) | u8::from(self.flags & CD != 0) << 1
    }
}

/// A record of any type, as positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Where the time to live stands.
    pub(crate) ttl_at: usize,
    pub(crate) data_at: usize,
    pub(crate) end: usize,
}

impl Record {
    pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Record> {
        let at = skip_name(bytes, at)?;
        let fixed: &[u8; 10] = bytes.get(at..at + 10)?.try_into().ok()?;
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = *fixed;
        let end = at + 10 + usize::from(u16::from_be_bytes([l0, l1]));
        (end <= bytes.len()).then_some(Record {
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            ttl_at: at + 4,
            data_at: at + 10,
            end,
        })
    }
}

/// A name without pointers, which a question has no use for, and where it ends.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::with_capacity(64);
    let begin = at;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        for byte in bytes.get(at..at + length)? {
            match byte {
                b'.' | b'\\' | 0..=32 | 127.. => text.push_str(&format!("\\{byte:03}")),
                _ => text.push(char::from(byte.to_ascii_lowercase())),
            }
        }
        at += length;
    }
    (at - begin <= 255).then_some((text, at))
}

/// Where the name that begins at `at` ends; pointers are not followed.
pub(crate) fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// What an answer of ours carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Addresses(Vec<Ipv6Addr>),
    Texts(Vec<String>),
    Pointer(String),
    Nothing,
}

/// Writes the answer to `query`: `content` on success, the zone's start of authority (RFC 2308) when there is nothing.
/// Longer than `limit` bytes it is cut, and says so. Times are in seconds.
pub(crate) fn answer(
    query: &Query<'_>,
    rcode: Rcode,
    content: &Content,
    zone: Option<&Authority<'_>>,
    ttl: u32,
    limit: usize,
) -> Vec<u8> {
    let authoritative = if zone.is_some() { AA } else { 0 };
    let flags = QR | authoritative | RA | query.flags & (RD | CD) | rcode as u16;
    let mut out = Vec::with_capacity(HEADER + query.question.len() + 128);
    for word in [query.id, flags, 1, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(query.question);
    let trailer = if query.edns.is_some() { 11 } else { 0 };
    let mut written = Sections::default();
    let mut cut = false;
    match content {
        Content::Addresses(addresses) => {
            for address in addresses {
                if out.len() + 28 + trailer > limit {
                    cut = true;
                    break;
                }
                record(&mut out, TYPE_AAAA, ttl, &address.octets());
                written.answers += 1;
            }
        }
        Content::Texts(texts) => {
            for text in texts {
                let data = strings(text);
                if out.len() + 12 + data.len() + trailer > limit {
                    cut = true;
                    break;
                }
                record(&mut out, TYPE_TXT, ttl, &data);
                written.answers += 1;
            }
        }
        Content::Pointer(name) => {
            record(&mut out, TYPE_PTR, ttl, &labels(name));
            written.answers = 1;
        }
        Content::Nothing => {
            if let Some(zone) = zone {
                zone.write(&mut out, ttl);
                written.authorities = 1;
            }
        }
    }
    if query.edns.is_some() {
        edns(&mut out, query.has_bad_version());
        written.additional = 1;
    }
    if cut {
        out[2] |= (TC >> 8) as u8;
    }
    for (at, count) in [
        (6, written.answers),
        (8, written.authorities),
        (10, written.additional),
    ] {
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    out
}

#[derive(Default)]
struct Sections {
    answers: u16,
    authorities: u16,
    additional: u16,
}

/// An answer to what could not be read.
pub(crate) fn refusal(id: u16, flags: u16, rcode: Rcode) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    let flags = QR | RA | flags & (OPCODE | RD) | rcode as u16;
    for word in [id, flags, 0, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out
}

/// The zone an answer speaks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    pub(crate) zone: &'a str,
}

impl Authority<'_> {
    fn write(&self, out: &mut Vec<u8>, ttl: u32) {
        let zone = labels(self.zone);
        out.extend(&zone);
        let mut data = zone.clone();
        data.extend(&zone);
        for number in [1u32, 3600, 600, 86_400, ttl] {
            data.extend(number.to_be_bytes());
        }
        fixed(out, TYPE_SOA, ttl, &data);
    }
}

/// A record of the name that was asked for, which stands right behind the header.
fn record(out: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    out.extend([0xc0, HEADER as u8]);
    fixed(out, kind, ttl, data);
}

fn fixed(out: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(data);
}

/// RFC 6891, 6.1.2; an unknown version is answered with BADVERS, whose upper bits stand here.
fn edns(out: &mut Vec<u8>, bad_version: bool) {
    out.push(0);
    out.extend(TYPE_OPT.to_be_bytes());
    out.extend(PAYLOAD_MAX.to_be_bytes());
    out.extend([u8::from(bad_version), 0, 0, 0, 0, 0]);
}

/// A text as the strings of a TXT record, at most 255 bytes each.
fn strings(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return vec![0];
    }
    let mut data = Vec::with_capacity(text.len() + text.len() / 255 + 1);
    for piece in text.as_bytes().chunks(255) {
        data.push(piece.len() as u8);
        data.extend(piece);
    }
    data
}

fn labels(name: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        data.push(label.len().min(63) as u8);
        data.extend(label.bytes().take(63));
    }
    data.push(0);
    data
}

#[cfg(test)]
mod tests;
