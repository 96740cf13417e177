//! Heads of requests: what they say about framing and the host, and what makes them unacceptable.
//!
//! Rules: RFC 9112 (messages) and RFC 9110 section 7.6.1 (hop-by-hop fields). A request of HTTP/2 is put together from its
//! fields and understood in the same way, so that every rule exists once.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::field::{Field, Kind, contains, decimal, locate, members};

/// The longest head, request or response, in bytes.
pub(crate) const HEAD_MAX: usize = 64 * 1024;
/// The most header lines of a head.
pub(crate) const HEADERS_MAX: usize = 128;

/// How the bytes after a head are delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
    /// Responses only: everything until the connection ends.
    UntilClose,
}

/// The protocol a message came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// As `Via` has it.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

/// A request head that only one reading fits; empty until read. One value serves many requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// The head as it came, then parts that had to be rewritten.
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    host: Range<usize>,
    authority: Range<usize>,
    fields: Vec<Field>,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// Names a protocol the client wants to switch to.
    pub(crate) upgrade: bool,
    /// Answers of the edge itself are JSON.
    pub(crate) wants_json: bool,
    /// Carries a field of [`Kind::Routing`].
    pub(crate) routing: bool,
    /// The client takes trailers (`TE: trailers`).
    pub(crate) takes_trailers: bool,
    /// The client sends its body when it sees `100 Continue`.
    pub(crate) expects_continue: bool,
}

/// Why a head is refused, with the status the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

const fn bad(reason: &'static str) -> Refused {
    Refused {
        status: 400,
        reason,
    }
}

pub(crate) const TOO_LONG: Refused = Refused {
    status: 431,
    reason: "the request head is too long",
};

const TOO_MANY: Refused = Refused {
    status: 431,
    reason: "too many header lines",
};

impl RequestHead {
    pub(crate) fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// In origin form, beginning with `/`, or `*`.
    pub(crate) fn target(&self) -> &str {
        self.text(&self.target)
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Lower case, without port and trailing dot; empty if an HTTP/1.0 client named none.
    pub(crate) fn host(&self) -> &str {
        self.text(&self.host)
    }

    /// As it is passed on in the `Host` field.
    pub(crate) fn authority(&self) -> &str {
        self.text(&self.authority)
    }

    /// Method, target and authority as they are passed on.
    pub(crate) fn line(&self) -> [&[u8]; 3] {
        [&self.method, &self.target, &self.authority].map(|range| &self.bytes[range.clone()])
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default()
    }

    /// All fields in order: kind, name, value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Kind, &[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let part = |range: &Range<usize>| &self.bytes[range.clone()];
            (field.kind, part(&field.name), part(&field.value))
        })
    }

    /// The first value of a field; `name` in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .find(|(_, other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, _, value)| value)
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method() == "HEAD"
    }

    /// RFC 9110, 9.2.2.
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(
            self.method(),
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        )
    }

    /// Reads a head from the beginning of `bytes` and says how long it is; `None` if it is not complete yet.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refused> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= HEAD_MAX => return Err(TOO_LONG),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(TOO_MANY),
            Err(_) => return Err(bad("the request head is not HTTP/1")),
        };
        if length > HEAD_MAX {
            return Err(TOO_LONG);
        }
        refuse_bare_line_feeds(&bytes[..length])?;
        self.version = match request.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        if request.method == Some("CONNECT") {
            return Err(Refused {
                status: 405,
                reason: "CONNECT is not served here",
            });
        }
        let range = |part: &str| {
            let start = part.as_ptr().addr() - bytes.as_ptr().addr();
            start..start + part.len()
        };
        self.method = range(request.method.unwrap_or_default());
        self.target = range(request.path.unwrap_or_default());
        locate(bytes, request.headers, &mut self.fields);
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes[..length]);
        self.understand()?;
        Ok(Some(length))
    }

    /// Begins a head that does not come as bytes of HTTP/1.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Keeps a part of it.
    pub(crate) fn keep(&mut self, part: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(part);
        from..self.bytes.len()
    }

    pub(crate) fn kept(&self, part: &Range<usize>) -> &[u8] {
        &self.bytes[part.clone()]
    }

    pub(crate) fn add(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        let value = self.keep(value);
        self.add_kept(kind, name, value);
    }

    /// Adds a field whose value is kept already.
    pub(crate) fn add_kept(&mut self, kind: Kind, name: &[u8], value: Range<usize>) {
        let name = self.keep(name);
        self.fields.push(Field { name, value, kind });
    }

    /// Understands the parts as those of a head of HTTP/1.1, which names and values must be fit for.
    pub(crate) fn finish(
        &mut self,
        method: Range<usize>,
        target: Range<usize>,
    ) -> Result<(), Refused> {
        if self.fields.len() > HEADERS_MAX {
            return Err(TOO_MANY);
        }
        if self.bytes.len() > HEAD_MAX {
            return Err(TOO_LONG);
        }
        self.version = Version::Http11;
        (self.method, self.target) = (method, target);
        self.understand()
    }

    fn understand(&mut self) -> Result<(), Refused> {
        let common = Common::read(&self.bytes, &mut self.fields, self.version)?;
        self.framing = match (common.chunked, common.length) {
            (true, _) if self.version == Version::Http10 => {
                return Err(bad("Transfer-Encoding needs HTTP/1.1"));
            }
            (true, Some(_)) => {
                return Err(bad(
                    "Content-Length and Transfer-Encoding exclude each other",
                ));
            }
            (true, None) => Framing::Chunked,
            (false, Some(0)) | (false, None) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        self.keep_alive = common.keep_alive;
        self.upgrade = self.version == Version::Http11 && common.upgrade;
        let mut host = None;
        (self.wants_json, self.routing, self.takes_trailers) = (false, false, false);
        self.expects_continue = false;
        for field in &self.fields {
            let value = &self.bytes[field.value.clone()];
            match field.kind {
                Kind::Host if host.replace(field.value.clone()).is_some() => {
                    return Err(bad("Host is given more than once"));
                }
                Kind::Accept => self.wants_json = !contains(value, b"text/html"),
                Kind::Routing => self.routing = true,
                Kind::Te => {
                    self.takes_trailers |=
                        members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
                }
                Kind::Expect => {
                    self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                }
                _ => {}
            }
        }
        self.place(host)
    }

    /// Finds target and host; an absolute target's authority wins over `Host` (RFC 9112, 3.2.2).
    fn place(&mut self, host: Option<Range<usize>>) -> Result<(), Refused> {
        let target = &self.bytes[self.target.clone()];
        if target.contains(&b'#') || !target.iter().all(u8::is_ascii_graphic) {
            return Err(bad("the request target holds characters it must not"));
        }
        if host.is_none() && self.version == Version::Http11 {
            return Err(bad("the Host field is missing"));
        }
        if target.starts_with(b"/") || target == b"*" {
            self.authority = host.unwrap_or(0..0);
        } else {
            let scheme = target
                .iter()
                .position(|byte| *byte == b':')
                .filter(|colon| {
                    let scheme = &target[..*colon];
                    (scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https"))
                        && target[*colon..].starts_with(b"://")
                })
                .ok_or(bad("the request target must begin with /"))?;
            let start = self.target.start + scheme + 3;
            let rest = &self.bytes[start..self.target.end];
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(bad("the request target names no host"));
            }
            self.authority = start..start + end;
            let path = start + end..self.target.end;
            self.target = if self.bytes[path.clone()].starts_with(b"/") {
                path
            } else {
                let from = self.bytes.len();
                self.bytes.push(b'/');
                self.bytes.extend_from_within(path);
                from..self.bytes.len()
            };
        }
        let authority = self.authority.clone();
        self.host = if authority.is_empty() && self.version == Version::Http10 {
            0..0
        } else {
            let name = host_name(&self.bytes[authority.clone()])
                .ok_or(bad("the Host field is not a host name"))?;
            let range = authority.start..authority.start + name;
            if self.bytes[range.clone()].iter().any(u8::is_ascii_uppercase) {
                let from = self.bytes.len();
                self.bytes.extend_from_within(range);
                self.bytes[from..].make_ascii_lowercase();
                from..self.bytes.len()
            } else {
                range
            }
        };
        Ok(())
    }
}

/// What both kinds of head say about framing and the connection.
pub(crate) struct Common {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Common {
    pub(crate) fn read(
        bytes: &[u8],
        fields: &mut [Field],
        version: Version,
    ) -> Result<Common, Refused> {
        let mut common = Common {
            length: None,
            chunked: false,
            keep_alive: version == Version::Http11,
            upgrade: false,
        };
        let (mut close, mut keep, mut upgrade, mut others) = (false, false, false, false);
        let mut names_protocol = false;
        for field in &*fields {
            let value = &bytes[field.value.clone()];
            match field.kind {
                Kind::ContentLength => {
                    let length = decimal(value).ok_or(bad("Content-Length is not a number"))?;
                    if common.length.replace(length).is_some() {
                        return Err(bad("Content-Length is given more than once"));
                    }
                }
                Kind::TransferEncoding => {
                    if common.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refused {
                            status: 501,
                            reason: "the only transfer coding served is chunked",
                        });
                    }
                    common.chunked = true;
                }
                Kind::Connection => {
                    for option in members(value) {
                        match option {
                            _ if option.eq_ignore_ascii_case(b"close") => close = true,
                            _ if option.eq_ignore_ascii_case(b"keep-alive") => keep = true,
                            _ if option.eq_ignore_ascii_case(b"upgrade") => upgrade = true,
                            _ => others = true,
                        }
                    }
                }
                Kind::Upgrade => names_protocol = true,
                _ => {}
            }
        }
        common.keep_alive = !close && (common.keep_alive || keep);
        common.upgrade = upgrade && names_protocol;
        if others {
            drop_listed(bytes, fields);
        }
        Ok(common)
    }
}

/// Marks what `Connection` lists. What frames a message or is the edge's own is not a client's to take away.
fn drop_listed(bytes: &[u8], fields: &mut [Field]) {
    let values: Vec<Range<usize>> = fields
        .iter()
        .filter(|field| field.kind == Kind::Connection)
        .map(|field| field.value.clone())
        .collect();
    for field in fields.iter_mut().filter(|field| field.kind == Kind::Other) {
        let name = &bytes[field.name.clone()];
        let listed = values.iter().any(|value| {
            members(&bytes[value.clone()]).any(|option| option.eq_ignore_ascii_case(name))
        });
        if listed {
            field.kind = Kind::Hop;
        }
    }
}

/// A line feed alone ends a line for some parsers and not for others.
fn refuse_bare_line_feeds(head: &[u8]) -> Result<(), Refused> {
    let before = head.get(..head.len().saturating_sub(1)).unwrap_or_default();
    let after = head.get(1..).unwrap_or_default();
    // Bytes without a way out in the middle: many are compared at once.
    let bare = after.iter().zip(before).fold(
        u8::from(head.first() == Some(&b'\n')),
        |found, (byte, before)| found | (u8::from(*byte == b'\n') & u8::from(*before != b'\r')),
    );
    if bare != 0 {
        return Err(bad("lines must end with CR LF"));
    }
    Ok(())
}

/// How many bytes at the beginning of an authority are its host name, without port and trailing dot.
fn host_name(authority: &[u8]) -> Option<usize> {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let mut host = match colon {
        Some(colon) if is_port(&authority[colon + 1..]) => &authority[..colon],
        Some(_) if !authority.starts_with(b"[") => return None,
        _ => authority,
    };
    host = host.strip_suffix(b".").unwrap_or(host);
    let allowed = if host.starts_with(b"[") {
        let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
        std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        host.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    (allowed && !host.is_empty() && host.len() <= 253).then_some(host.len())
}

fn is_port(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= 5 && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests;
