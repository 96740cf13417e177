//! Request heads from HTTP/2, and the answers' heads to it.
//!
//! A head that came over HTTP/2 is written as HTTP/1 bytes and read by the same strict reader as any other, so that
//! routing, header rules and everything refused as ambiguous exist once. Only what HTTP/1 cannot express is decided
//! here. Rules: RFC 9113 section 8, RFC 8441 for WebSocket.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, request};

use crate::http::head::{Framing, HEAD_MAX, Refused, RequestHead, Version};

const fn bad(reason: &'static str) -> Refused {
    Refused {
        status: 400,
        reason,
    }
}

/// A request that came over HTTP/2, in the form every request has. One value serves many requests.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    pub(crate) head: RequestHead,
    /// An extended CONNECT: a 101 of the machine becomes a 200, and both bodies a tunnel.
    pub(crate) tunnel: bool,
    text: Vec<u8>,
}

impl Inbound {
    /// Reads a request. `ended` says that no body follows; `key` is the nonce a WebSocket handshake over HTTP/1 needs
    /// and one over HTTP/2 lacks.
    ///
    /// # Errors
    /// [`Refused`] with the status to answer, if the head has no reading or more than one; then this is nobody's.
    pub(crate) fn read(
        &mut self,
        parts: &request::Parts,
        ended: bool,
        key: impl FnOnce() -> String,
    ) -> Result<(), Refused> {
        self.text.clear();
        let read = read_request(parts, ended, key, &mut self.text, &mut self.head);
        if read.is_err() {
            self.head = RequestHead::default();
        }
        self.tunnel = read?;
        Ok(())
    }
}

/// Writes the head as HTTP/1 into `out` and reads it into `head`; whether it opens a tunnel.
fn read_request(
    parts: &request::Parts,
    ended: bool,
    key: impl FnOnce() -> String,
    out: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<bool, Refused> {
    let tunnel = match (parts.extensions.get::<Protocol>(), &parts.method) {
        (None, _) => false,
        (Some(protocol), &Method::CONNECT) if protocol.as_str() == "websocket" => true,
        (Some(_), _) => {
            return Err(Refused {
                status: 501,
                reason: "the only protocol served by extended CONNECT is websocket",
            });
        }
    };
    push_request_line(out, parts, tunnel)?;
    let (mut has_length, mut has_cookies) = (false, false);
    for (name, value) in &parts.headers {
        has_length |= name == CONTENT_LENGTH;
        has_cookies |= name == COOKIE;
        if name == HOST || name == COOKIE || (tunnel && name == "sec-websocket-key") {
            continue;
        }
        if is_connection_field(name) || (name == TE && value != "trailers") {
            return Err(bad("a field of HTTP/1 connections came over HTTP/2"));
        }
        push_field(out, name, value)?;
    }
    if has_cookies {
        push_cookies(out, &parts.headers)?;
    }
    if tunnel {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
        out.extend_from_slice(key().as_bytes());
        out.extend_from_slice(b"\r\n");
    } else if !has_length {
        if !ended {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        } else if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    if out.len() > HEAD_MAX {
        return Err(Refused {
            status: 431,
            reason: "the request head is too long",
        });
    }
    if head.read(out)? != Some(out.len()) {
        return Err(bad("the request head is not one head"));
    }
    head.version = Version::Http2;
    if ended && !matches!(head.framing, Framing::None) {
        return Err(bad("Content-Length promises a body and none came"));
    }
    if tunnel && !matches!(head.framing, Framing::None) {
        return Err(bad("a WebSocket handshake has no Content-Length"));
    }
    Ok(tunnel)
}

fn push_request_line(
    out: &mut Vec<u8>,
    parts: &request::Parts,
    tunnel: bool,
) -> Result<(), Refused> {
    if parts
        .uri
        .scheme()
        .is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https"))
    {
        return Err(bad(":scheme must be http or https"));
    }
    let method = if tunnel { "GET" } else { parts.method.as_str() };
    let target = match parts.uri.path_and_query() {
        Some(target) => target.as_str(),
        None if parts.method == Method::CONNECT => "/",
        None => return Err(bad(":path is missing")),
    };
    let asterisk = target == "*" && parts.method == Method::OPTIONS;
    if !(target.starts_with('/') || asterisk) || !target.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(bad(
            ":path must begin with / and hold no blanks or control characters",
        ));
    }
    let authority = authority(parts)?;
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(authority);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// `:authority`, or `Host` without it; never two that differ (RFC 9113, 8.3.1).
fn authority(parts: &request::Parts) -> Result<&[u8], Refused> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("Host is given more than once"));
    }
    match (parts.uri.authority(), host) {
        (Some(authority), None) => Ok(authority.as_str().as_bytes()),
        (Some(authority), Some(host))
            if host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Ok(authority.as_str().as_bytes())
        }
        (Some(_), Some(_)) => Err(bad(":authority and Host differ")),
        (None, Some(host)) => Ok(host.as_bytes()),
        (None, None) => Err(bad(":authority is missing")),
    }
}

fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) -> Result<(), Refused> {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(trimmed(value)?);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// HTTP/1 would cut blanks off, HTTP/2 forbids them (RFC 9113, 8.2.1).
fn trimmed(value: &HeaderValue) -> Result<&[u8], Refused> {
    let bytes = value.as_bytes();
    if bytes.trim_ascii().len() == bytes.len() {
        Ok(bytes)
    } else {
        Err(bad("a field value begins or ends with a blank"))
    }
}

/// HTTP/2 may send one field per cookie, which HTTP/1 servers do not expect (RFC 9113, 8.2.3).
fn push_cookies(out: &mut Vec<u8>, headers: &HeaderMap) -> Result<(), Refused> {
    let mut separator: &[u8] = b"cookie: ";
    for cookie in headers.get_all(COOKIE) {
        out.extend_from_slice(separator);
        out.extend_from_slice(trimmed(cookie)?);
        separator = b"; ";
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Fields that belong to one HTTP/1 connection (RFC 9113, 8.2.2).
pub(super) fn is_connection_field(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// A field of HTTP/1 text, unless HTTP/2 cannot carry it. What the HTTP/1 reader takes, it can.
pub(super) fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
    (!is_connection_field(&name)).then_some((name, value))
}

/// Fields that may stand behind a body: none that frames, routes or authenticates the message (RFC 9110, 6.5.1).
pub(super) fn may_trail(name: &HeaderName) -> bool {
    !(is_connection_field(name)
        || matches!(
            name.as_str(),
            "content-length"
                | "host"
                | "te"
                | "trailer"
                | "authorization"
                | "cookie"
                | "set-cookie"
                | "content-encoding"
                | "content-type"
                | "content-range"
                | "cache-control"
                | "expect"
                | "max-forwards"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "www-authenticate"
        ))
}

/// The trailer section of a chunked body, `lines` being all its lines without the empty one.
///
/// # Errors
/// [`Refused`] if they are not fields.
pub(crate) fn read_trailers(lines: &[u8]) -> Result<HeaderMap, Refused> {
    const MAX: usize = 64;
    const GARBLED: Refused = bad("the trailers are not fields");
    let mut section = Vec::with_capacity(lines.len() + 2);
    section.extend_from_slice(lines);
    section.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; MAX];
    let mut trailers = HeaderMap::new();
    match httparse::parse_headers(&section, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length == section.len() => {
            for (name, value) in fields
                .iter()
                .filter_map(|line| field(line.name.as_bytes(), line.value))
            {
                if may_trail(&name) {
                    trailers.append(name, value);
                }
            }
            Ok(trailers)
        }
        _ => Err(GARBLED),
    }
}

/// Trailers as lines of a chunked body, without the empty one.
pub(crate) fn write_trailers(trailers: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes().trim_ascii());
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests;
