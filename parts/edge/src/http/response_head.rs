//! Heads of a machine's answers.

use std::mem::MaybeUninit;
use std::ops::Range;

use mayfly_routing::REPLAY_JSON;

use super::field::{Field, Kind, locate};
use super::head::{Common, Framing, HEAD_MAX, HEADERS_MAX, Version};

/// A response head that only one reading fits; empty until read. One value serves many answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    bytes: Vec<u8>,
    reason: Range<usize>,
    fields: Vec<Field>,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// The machine takes another request on the connection.
    pub(crate) keep_alive: bool,
    /// Orders a replay: has `fly-replay`, or the replay media type.
    pub(crate) replay: bool,
}

/// The answer is not HTTP/1, or can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

const REPLAY_TYPE: &[u8] = REPLAY_JSON.as_bytes();

impl ResponseHead {
    pub(crate) fn reason(&self) -> &[u8] {
        &self.bytes[self.reason.clone()]
    }

    /// All fields in order: kind, name, value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Kind, &[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let part = |range: &Range<usize>| &self.bytes[range.clone()];
            (field.kind, part(&field.name), part(&field.value))
        })
    }

    /// Whether `Vary` already names `Accept-Encoding`, or everything.
    pub(crate) fn varies_by_encoding(&self) -> bool {
        self.fields()
            .filter(|(_, name, _)| name.eq_ignore_ascii_case(b"vary"))
            .flat_map(|(_, _, value)| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .any(|member| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding"))
    }

    /// Reads the head of the answer to a request with `method` and says how long it is; `None` if it is not complete.
    pub(crate) fn read(&mut self, bytes: &[u8], method: &str) -> Result<Option<usize>, Garbled> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let length =
            match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
                Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
                Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
                _ => return Err(Garbled),
            };
        let version = match response.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        self.status = response.code.unwrap_or_default();
        if !(100..=599).contains(&self.status) {
            return Err(Garbled);
        }
        let reason = response.reason.unwrap_or_default();
        let start = reason.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        self.reason = if reason.is_empty() {
            0..0
        } else {
            start..start + reason.len()
        };
        locate(bytes, response.headers, &mut self.fields);
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes[..length]);
        let common = Common::read(&self.bytes, &mut self.fields, version).map_err(|_| Garbled)?;
        let bodiless = method == "HEAD"
            || (100..200).contains(&self.status)
            || matches!(self.status, 204 | 304);
        self.framing = match (common.chunked, common.length) {
            (true, Some(_)) => return Err(Garbled),
            _ if bodiless => Framing::None,
            (true, None) => Framing::Chunked,
            (false, Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        };
        self.keep_alive = common.keep_alive && self.framing != Framing::UntilClose;
        let replay = self.fields().any(|(kind, _, value)| match kind {
            Kind::Replay => true,
            Kind::ContentType => value
                .get(..REPLAY_TYPE.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(REPLAY_TYPE)),
            _ => false,
        });
        self.replay = replay;
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(text: &str, method: &str) -> Result<Framing, Garbled> {
        let mut head = ResponseHead::default();
        let length = head.read(text.as_bytes(), method)?;
        assert_eq!(length, Some(text.len()));
        Ok(head.framing)
    }

    #[test]
    fn framing_follows_method_and_status() {
        for (text, method, wanted) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                "HEAD",
                Framing::None,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                "GET",
                Framing::Length(9),
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", "GET", Framing::None),
            (
                "HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
                "GET",
                Framing::None,
            ),
            ("HTTP/1.0 200 OK\r\n\r\n", "GET", Framing::UntilClose),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                "GET",
                Framing::Chunked,
            ),
        ] {
            assert_eq!(framing(text, method), Ok(wanted), "{text:?}");
        }
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 999 X\r\n\r\n",
        ] {
            assert_eq!(framing(wrong, "GET"), Err(Garbled), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = ResponseHead::default().read(&bytes, "GET");
        }

        #[test]
        fn almost_heads_are_read_or_refused(text in "HTTP/1\\.[01] [0-9]{1,3}( [a-z ]{0,5})?\r\n([A-Za-z-]{1,17}: ?[ -~]{0,8}\r?\n){0,4}\r?\n") {
            let mut head = ResponseHead::default();
            if let Ok(Some(length)) = head.read(text.as_bytes(), "GET") {
                proptest::prop_assert!(length <= text.len());
                for (_, name, _) in head.fields() {
                    proptest::prop_assert!(!name.is_empty());
                }
            }
        }
    }
}
