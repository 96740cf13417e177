//! Requests from their fields (RFC 9113 section 8, RFC 8441 for WebSocket).
//!
//! Fields are put together to the head that every request has, and understood by the same rules: what is refused as
//! ambiguous exists once. Only what HTTP/1 cannot express is decided here.

use std::ops::Range;

use super::trailers::is_connection_field;
use crate::http::field::{Kind, classify};
use crate::http::head::{Framing, Refused, RequestHead, TOO_LONG, Version};

/// What a field counts besides its bytes (RFC 9113, 6.5.2).
const OVERHEAD: usize = 32;

const fn bad(reason: &'static str) -> Refused {
    Refused {
        status: 400,
        reason,
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not one: its stream is reset (RFC 9113, 8.1.1).
    Malformed,
    /// It gets an answer that says why.
    Refused(Refused),
}

impl From<Refused> for Flaw {
    fn from(refused: Refused) -> Flaw {
        Flaw::Refused(refused)
    }
}

/// What a field is, found out once and remembered with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    name: Name,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Cookie,
    /// Of the handshake of HTTP/1 alone.
    WebSocketKey,
    Other(Kind),
    /// No request may have it.
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Fine,
    /// HTTP/1 would cut blanks off, HTTP/2 forbids them (RFC 9113, 8.2.1).
    Blanks,
    Wrong,
}

impl Tag {
    pub(super) fn of(name: &[u8], value: &[u8]) -> Tag {
        let legal = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        let value = if !value.iter().all(legal) {
            Value::Wrong
        } else if value.trim_ascii().len() != value.len() {
            Value::Blanks
        } else {
            Value::Fine
        };
        let name = match name {
            b":method" => Name::Method,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b":path" => Name::Path,
            b":protocol" => Name::Protocol,
            b"cookie" => Name::Cookie,
            b"sec-websocket-key" => Name::WebSocketKey,
            _ if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) => Name::Wrong,
            _ if is_connection_field(name) => Name::Wrong,
            _ => Name::Other(classify(name)),
        };
        Tag { name, value }
    }

    /// A field that trailers may have, as far as its form goes.
    pub(super) fn is_plain(self) -> bool {
        let plain = matches!(
            self.name,
            Name::Other(_) | Name::Cookie | Name::WebSocketKey
        );
        plain && self.value != Value::Wrong
    }
}

fn is_token(text: &[u8]) -> bool {
    let legal = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
    };
    !text.is_empty() && text.iter().all(legal)
}

/// A request on its way in. One value serves many.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) head: RequestHead,
    /// An extended CONNECT: a 101 of the machine becomes a 200, and both bodies a tunnel.
    pub(super) tunnel: bool,
    /// The length of the body, if it was said.
    pub(super) length: Option<u64>,
    parts: Parts,
    /// One field per cookie, which HTTP/1 servers do not expect, put together (RFC 9113, 8.2.3).
    cookies: Vec<u8>,
}

/// One that goes from hand to hand.
pub(super) type Incoming = Box<Inbound>;

/// What has come so far; places are those of the head's bytes.
#[derive(Debug, Default)]
struct Parts {
    method: Option<Range<usize>>,
    scheme: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    path: Option<Range<usize>>,
    protocol: Option<Range<usize>>,
    host: Option<Range<usize>>,
    has_length: bool,
    has_fields: bool,
    /// The size of all fields, and the most it may be.
    size: usize,
    most: usize,
    flaw: Option<Flaw>,
}

impl Inbound {
    /// Begins a request; `most` is the size of its fields as RFC 9113, 6.5.2 counts it.
    pub(super) fn begin(&mut self, most: usize) {
        self.head.clear();
        self.cookies.clear();
        self.parts = Parts {
            most,
            ..Parts::default()
        };
    }

    /// Takes the next field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8], tag: Tag) {
        let parts = &mut self.parts;
        parts.size = parts
            .size
            .saturating_add(name.len() + value.len() + OVERHEAD);
        if parts.size > parts.most {
            parts.flaw.get_or_insert(TOO_LONG.into());
        }
        if parts.flaw.is_some() {
            return;
        }
        match tag.value {
            Value::Fine => {}
            Value::Blanks => {
                parts.flaw = Some(bad("a field value begins or ends with a blank").into());
                return;
            }
            Value::Wrong => {
                parts.flaw = Some(Flaw::Malformed);
                return;
            }
        }
        let head = &mut self.head;
        let special = match tag.name {
            Name::Method => &mut parts.method,
            Name::Scheme => &mut parts.scheme,
            Name::Authority => &mut parts.authority,
            Name::Path => &mut parts.path,
            Name::Protocol => &mut parts.protocol,
            Name::Wrong => {
                parts.flaw = Some(Flaw::Malformed);
                return;
            }
            Name::Cookie => {
                parts.has_fields = true;
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
                return;
            }
            Name::WebSocketKey => {
                parts.has_fields = true;
                // That of another protocol's handshake; ours is made where one is.
                if parts.protocol.is_none() {
                    head.add(Kind::Other, name, value);
                }
                return;
            }
            Name::Other(Kind::Host) => {
                parts.has_fields = true;
                if parts.host.replace(head.keep(value)).is_some() {
                    parts.flaw = Some(bad("Host is given more than once").into());
                }
                return;
            }
            Name::Other(kind) => {
                parts.has_fields = true;
                parts.has_length |= kind == Kind::ContentLength;
                if kind == Kind::Te && value != b"trailers" {
                    parts.flaw = Some(Flaw::Malformed);
                }
                head.add(kind, name, value);
                return;
            }
        };
        // Once, and in front of all others (RFC 9113, 8.3).
        if parts.has_fields || special.replace(head.keep(value)).is_some() {
            parts.flaw = Some(Flaw::Malformed);
        }
    }

    /// Understands the request once all fields have come. `ended` says that no body follows; `key` is the nonce a
    /// WebSocket handshake over HTTP/1 needs and one over HTTP/2 lacks.
    ///
    /// # Errors
    /// [`Flaw`], if the head has no reading or more than one; then it is nobody's.
    pub(super) fn finish(&mut self, ended: bool, key: &dyn Fn() -> String) -> Result<(), Flaw> {
        (self.tunnel, self.length) = (false, None);
        let understood = self.understand(ended, key);
        if understood.is_err() {
            self.head = RequestHead::default();
        }
        understood
    }

    fn understand(&mut self, ended: bool, key: &dyn Fn() -> String) -> Result<(), Flaw> {
        let Inbound {
            head,
            tunnel,
            length,
            parts,
            cookies,
        } = self;
        if let Some(flaw) = parts.flaw {
            return Err(flaw);
        }
        let method = parts.method.take().ok_or(Flaw::Malformed)?;
        if !is_token(head.kept(&method)) {
            return Err(Flaw::Malformed);
        }
        let is_connect = head.kept(&method) == b"CONNECT";
        *tunnel = match parts.protocol.take() {
            None => false,
            Some(_) if !is_connect => return Err(Flaw::Malformed),
            Some(protocol) if head.kept(&protocol) == b"websocket" => true,
            Some(_) => {
                return Err(Flaw::Refused(Refused {
                    status: 501,
                    reason: "the only protocol served by extended CONNECT is websocket",
                }));
            }
        };
        if is_connect && !*tunnel {
            return Err(Flaw::Refused(Refused {
                status: 405,
                reason: "CONNECT is not served here",
            }));
        }
        let scheme = parts.scheme.take().ok_or(Flaw::Malformed)?;
        if !matches!(head.kept(&scheme), b"http" | b"https") {
            return Err(bad(":scheme must be http or https").into());
        }
        let path = parts.path.take().ok_or(Flaw::Malformed)?;
        match head.kept(&path) {
            b"" => return Err(Flaw::Malformed),
            [b'/', ..] => {}
            b"*" if head.kept(&method) == b"OPTIONS" => {}
            _ => return Err(bad(":path must begin with /").into()),
        }
        // `:authority`, or `Host` without it; never two that differ (RFC 9113, 8.3.1).
        let authority = match (parts.authority.take(), parts.host.take()) {
            (Some(authority), Some(host))
                if !head.kept(&authority).eq_ignore_ascii_case(head.kept(&host)) =>
            {
                return Err(bad(":authority and Host differ").into());
            }
            (Some(authority), _) => authority,
            (None, Some(host)) => host,
            (None, None) => return Err(bad(":authority is missing").into()),
        };
        head.add_kept(Kind::Host, b"host", authority);
        if !cookies.is_empty() {
            head.add(Kind::Other, b"cookie", cookies);
        }
        let (mut method, mut chunked) = (method, false);
        if *tunnel {
            method = head.keep(b"GET");
            head.add(Kind::Connection, b"connection", b"upgrade");
            head.add(Kind::Upgrade, b"upgrade", b"websocket");
            head.add(Kind::Other, b"sec-websocket-key", key().as_bytes());
        } else if !parts.has_length {
            chunked = !ended;
            if ended && matches!(head.kept(&method), b"POST" | b"PUT" | b"PATCH") {
                // Servers wait for a body otherwise.
                head.add(Kind::ContentLength, b"content-length", b"0");
            }
        }
        head.finish(method, path)?;
        head.version = Version::Http2;
        if head.framing != Framing::None && (ended || *tunnel) {
            return Err(bad("Content-Length promises a body and none came").into());
        }
        *length = match head.framing {
            Framing::Length(length) => Some(length),
            _ => parts.has_length.then_some(0),
        };
        if chunked {
            head.framing = Framing::Chunked;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
