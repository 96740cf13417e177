//! The wire format of questions and answers (RFC 1035, section 4), as far as we ask.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Cname,
    Soa,
    Txt,
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Cname => 5,
            Kind::Soa => 6,
            Kind::Txt => 16,
            Kind::Aaaa => 28,
        }
    }
}

/// The content of a record of a kind we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    /// The zone's first name server.
    Soa(String),
    Txt(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Lower case, without a dot at the end.
    pub(super) name: String,
    pub(super) data: Data,
}

/// How a server ended its search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    NoSuchName,
    /// The server's own code for its failure.
    Failed(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// The rest did not fit: ask over TCP.
    pub(super) truncated: bool,
    /// Answer and authority sections.
    pub(super) records: Vec<Record>,
}

const CLASS_IN: u16 = 1;
/// Bytes of an answer we take in one datagram without it being split on its way.
pub(super) const DATAGRAM: u16 = 1232;
/// Longer chains of pointers are loops.
const POINTERS_MAX: usize = 32;

/// A question for recursion; `None` if `name` is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 32);
    for word in [id, 0x0100, 1, 0, 0, 1] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..=63).contains(n))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.code().to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    // EDNS (RFC 6891): root name, type 41, our datagram size, no flags, no options.
    message.push(0);
    for word in [41, DATAGRAM, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    Some(message)
}

/// Reads an answer to the question `id`, `name`, `kind`; `None` if it is not one.
pub(super) fn answer(message: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (found, flags) = (reader.word()?, reader.word()?);
    let counts = [
        reader.word()?,
        reader.word()?,
        reader.word()?,
        reader.word()?,
    ];
    let is_answer = flags & 0x8000 != 0;
    if found != id || !is_answer || counts[0] != 1 {
        return None;
    }
    if reader.name()? != name || reader.word()? != kind.code() || reader.word()? != CLASS_IN {
        return None;
    }
    let outcome = match flags & 0x000f {
        0 => Outcome::Found,
        3 => Outcome::NoSuchName,
        code => Outcome::Failed(u8::try_from(code).expect("four bits")),
    };
    let truncated = flags & 0x0200 != 0;
    let mut records = Vec::new();
    for _ in 0..u32::from(counts[1]) + u32::from(counts[2]) {
        match reader.record() {
            Some(Some(record)) => records.push(record),
            Some(None) => {}
            // A server may cut a truncated answer anywhere.
            None if truncated => break,
            None => return None,
        }
    }
    Some(Answer {
        outcome,
        truncated,
        records,
    })
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A name in lower case, its pointers followed.
    fn name(&mut self) -> Option<String> {
        let mut labels: Vec<String> = Vec::new();
        let mut pointers = 0;
        let mut behind = None;
        loop {
            let length = self.byte()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                }
                0xc0.. => {
                    let low = self.byte()?;
                    behind.get_or_insert(self.at);
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return None;
                    }
                    self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                }
                _ => return None,
            }
        }
        if let Some(at) = behind {
            self.at = at;
        }
        Some(labels.join("."))
    }

    /// The next record; the inner `None` is one of a kind we do not know.
    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let (code, class) = (self.word()?, self.word()?);
        self.take(4)?;
        let length = usize::from(self.word()?);
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.message.len())?;
        let data = match (class, code) {
            (CLASS_IN, 1) => Some(Data::A(
                <[u8; 4]>::try_from(self.take(length)?).ok()?.into(),
            )),
            (CLASS_IN, 28) => Some(Data::Aaaa(
                <[u8; 16]>::try_from(self.take(length)?).ok()?.into(),
            )),
            (CLASS_IN, 5) => Some(Data::Cname(self.name()?)),
            (CLASS_IN, 6) => Some(Data::Soa(self.name()?)),
            (CLASS_IN, 16) => Some(Data::Txt(texts(self.take(length)?)?)),
            _ => None,
        };
        self.at = end;
        Some(data.map(|data| Record { name, data }))
    }
}

/// The strings of a text record, joined.
fn texts(mut data: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(data.len());
    while let Some((&length, rest)) = data.split_first() {
        let (string, behind) = rest.split_at_checked(usize::from(length))?;
        text.extend_from_slice(string);
        data = behind;
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `question` with these raw records behind it.
    fn reply(question: &[u8], flags: u16, answers: &[&[u8]]) -> Vec<u8> {
        let asked = &question[12..question.len() - 11];
        let mut message = question[..2].to_vec();
        let count = u16::try_from(answers.len()).unwrap();
        for word in [flags, 1, count, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(asked);
        answers
            .iter()
            .for_each(|answer| message.extend_from_slice(answer));
        message
    }

    #[test]
    fn records_are_read_through_pointers() {
        let question = question(7, "www.example.com", Kind::A).unwrap();
        // The name of the question is at 12; "example.com" at 16.
        let alias = [
            &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6],
            &b"\x03web\xc0\x10"[..],
        ]
        .concat();
        let address = [0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
        let unknown = [0xc0, 12, 0, 46, 0, 1, 0, 0, 0, 60, 0, 1, 9];
        let text = [
            &[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 6],
            &b"\x02ab\x02cd"[..],
        ]
        .concat();
        let message = reply(&question, 0x8180, &[&alias, &address, &unknown, &text]);
        let answer = answer(&message, 7, "www.example.com", Kind::A).unwrap();
        let data: Vec<Data> = answer
            .records
            .iter()
            .map(|record| record.data.clone())
            .collect();
        assert_eq!(
            data,
            [
                Data::Cname("web.example.com".to_owned()),
                Data::A(Ipv4Addr::new(192, 0, 2, 7)),
                Data::Txt("abcd".to_owned()),
            ]
        );
        assert_eq!(answer.records[1].name, "web.example.com");
    }

    #[test]
    fn an_answer_to_something_else_is_none() {
        let question = question(7, "example.com", Kind::A).unwrap();
        let message = reply(&question, 0x8183, &[]);
        let found = answer(&message, 7, "example.com", Kind::A).unwrap();
        assert_eq!(found.outcome, Outcome::NoSuchName);
        assert!(answer(&message, 8, "example.com", Kind::A).is_none());
        assert!(answer(&message, 7, "example.org", Kind::A).is_none());
        assert!(answer(&message, 7, "example.com", Kind::Txt).is_none());
        assert!(answer(&question, 7, "example.com", Kind::A).is_none());
        let looped = reply(&question, 0x8180, &[&[0xc0, 29, 0xc0, 29]]);
        assert!(answer(&looped, 7, "example.com", Kind::A).is_none());
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            // Past the header, so that records are reached.
            let question = question(7, "a.b", Kind::A).unwrap();
            let mut whole = reply(&question, 0x8180, &[&[]]);
            whole[7] = 9;
            whole.append(&mut bytes);
            let _ = answer(&whole, 7, "a.b", Kind::A);
        }
    }
}
