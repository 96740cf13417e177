//! The header rules: what machines are told of a request, what clients get of an answer.
//!
//! Names and meanings: <https://fly.io/docs/networking/request-headers/>.

use std::net::{IpAddr, SocketAddr};

use mayfly_machine::HttpOptions;

use super::field::{Kind, classify};
use super::head::{Framing, RequestHead, Version};
use super::response_head::ResponseHead;
use super::text::{push_decimal, push_hex, push_ip};
use crate::compress::{Compression, weak_etag};

/// How the edge calls itself in `Via` and `Server`.
pub(crate) const PRODUCT: &str = "mayfly";
/// Of an answer that came by HTTP/1.1.
pub(crate) const VIA_1_1: &str = "1.1 mayfly";

/// Facts about the client's connection and request that a machine is told.
#[derive(Clone, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: SocketAddr,
    /// The edge's own address the client connected to.
    pub(crate) address: IpAddr,
    /// The port the client connected to.
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) region: &'a str,
    pub(crate) request_id: &'a str,
    /// W3C trace context of this request, as the edge continues or begins it.
    pub(crate) trace: &'a [u8],
    /// Microseconds since 1970.
    pub(crate) received_us: i64,
}

/// What routing adds to or changes in a request on its way to one machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// Replaces path and query.
    pub(crate) target: Option<String>,
    /// Set in place of the client's fields of the same name.
    pub(crate) set: Vec<(String, String)>,
    /// Names taken away.
    pub(crate) delete: Vec<String>,
}

impl Extra {
    fn replaces(&self, name: &[u8]) -> bool {
        let same = |other: &String| name.eq_ignore_ascii_case(other.as_bytes());
        self.delete.iter().any(same) || self.set.iter().any(|(other, _)| same(other))
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the request a machine gets, in the form of HTTP/1.1.
pub(crate) fn request(
    head: &RequestHead,
    origin: &Origin<'_>,
    extra: &Extra,
    preferred_unavailable: Option<&str>,
    out: &mut Vec<u8>,
) {
    let client = origin.peer.ip().to_canonical();
    let address = origin.address.to_canonical();
    let [method, target, authority] = head.line();
    for part in [
        method,
        b" ",
        extra.target.as_ref().map_or(target, String::as_bytes),
        b" HTTP/1.1\r\nHost: ",
    ] {
        out.extend_from_slice(part);
    }
    if authority.is_empty() {
        push_ip(out, address);
    } else {
        out.extend_from_slice(authority);
    }
    out.extend_from_slice(b"\r\n");
    let mut port_named = false;
    for (kind, name, value) in head.fields() {
        let passes = match kind {
            Kind::Host
            | Kind::Connection
            | Kind::Hop
            | Kind::TransferEncoding
            | Kind::ForwardedFor
            | Kind::Te
            | Kind::Ours
            | Kind::RequestId => false,
            Kind::Upgrade => head.upgrade,
            Kind::ForwardedPort => !std::mem::replace(&mut port_named, true),
            _ => true,
        };
        if passes && (extra.is_empty() || kind == Kind::ContentLength || !extra.replaces(name)) {
            push_field(out, name, value);
        }
    }
    out.extend_from_slice(b"X-Forwarded-For: ");
    for (_, _, value) in head
        .fields()
        .filter(|(kind, ..)| *kind == Kind::ForwardedFor)
    {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    push_ip(out, client);
    out.extend_from_slice(b", ");
    push_ip(out, address);
    let forwarded: &str = if origin.tls {
        "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-SSL: on\r\n\
         Fly-Forwarded-Proto: https\r\nFly-Forwarded-SSL: on\r\nX-Request-Start: t="
    } else {
        "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-SSL: off\r\n\
         Fly-Forwarded-Proto: http\r\nFly-Forwarded-SSL: off\r\nX-Request-Start: t="
    };
    out.extend_from_slice(forwarded.as_bytes());
    push_decimal(out, u64::try_from(origin.received_us).unwrap_or(0));
    out.extend_from_slice(b"\r\nFly-Client-IP: ");
    push_ip(out, client);
    out.extend_from_slice(b"\r\nFly-Forwarded-Port: ");
    push_decimal(out, origin.port.into());
    for part in [
        b"\r\nFly-Region: ",
        origin.region.as_bytes(),
        b"\r\nFly-Request-Id: ",
        origin.request_id.as_bytes(),
        b"\r\nFly-Traceparent: ",
        origin.trace,
        b"\r\nVia: ",
        head.version.number().as_bytes(),
        b" ",
        PRODUCT.as_bytes(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    if !port_named {
        out.extend_from_slice(b"X-Forwarded-Port: ");
        push_decimal(out, origin.port.into());
        out.extend_from_slice(b"\r\n");
    }
    if let Some(machine) = preferred_unavailable {
        push_field(
            out,
            b"Fly-Preferred-Instance-Unavailable",
            machine.as_bytes(),
        );
    }
    for (name, value) in &extra.set {
        push_field(out, name.as_bytes(), value.as_bytes());
    }
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match (head.upgrade, head.takes_trailers) {
        (true, _) => out.extend_from_slice(b"Connection: upgrade\r\n"),
        (false, true) => out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n"),
        (false, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer on its way to a client: the machine's head and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) head: &'a ResponseHead,
    /// How the sink is told the end of the body: as the head says, or [`Framing::UntilClose`] where the length is not
    /// known, because the body is changed on its way.
    pub(crate) framing: Framing,
    pub(crate) request_id: &'a str,
    pub(crate) options: Option<&'a HttpOptions>,
    /// What the edge does to the body.
    pub(crate) compression: Compression,
}

impl Answer<'_> {
    /// Calls `put` with the name and value of each field the client gets; what frames the message on one connection is
    /// the sink's.
    pub(crate) fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        let interim = self.head.status < 200;
        let pristine = interim || self.options.is_some_and(|options| options.pristine);
        let set = self
            .options
            .filter(|options| !interim && !options.response_headers.is_empty())
            .map(|options| &options.response_headers);
        let replaced = |name: &[u8]| {
            set.is_some_and(|set| {
                set.keys()
                    .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
            })
        };
        let coding = self.compression.coding();
        for (kind, name, value) in self.head.fields() {
            let passes = match kind {
                Kind::Connection
                | Kind::Hop
                | Kind::TransferEncoding
                | Kind::Upgrade
                | Kind::Te => false,
                Kind::ContentLength => coding.is_none() && self.framing == self.head.framing,
                Kind::ContentEncoding => coding.is_none(),
                Kind::Server | Kind::RequestId => pristine,
                _ => true,
            };
            if passes && (kind == Kind::ContentLength || !replaced(name)) {
                if coding.is_some() && name.eq_ignore_ascii_case(b"etag") {
                    put(name, &weak_etag(value));
                } else if coding.is_none() || !name.eq_ignore_ascii_case(b"accept-ranges") {
                    put(name, value);
                }
            }
        }
        if let Some(coding) = coding {
            put(b"Content-Encoding", coding.name().as_bytes());
        }
        if self.compression != Compression::Off && !self.head.varies_by_encoding() {
            put(b"Vary", b"Accept-Encoding");
        }
        if !pristine {
            if !replaced(b"server") {
                put(b"Server", PRODUCT.as_bytes());
            }
            if !replaced(b"via") {
                put(b"Via", VIA_1_1.as_bytes());
            }
            if !replaced(b"fly-request-id") {
                put(b"Fly-Request-Id", self.request_id.as_bytes());
            }
        }
        for (name, values) in set.into_iter().flatten() {
            if !matches!(
                classify(name.as_bytes()),
                Kind::ContentLength | Kind::TransferEncoding | Kind::Connection | Kind::Hop
            ) {
                for value in values.iter().flatten() {
                    put(name.as_bytes(), value.as_bytes());
                }
            }
        }
    }
}

/// Writes the head an HTTP/1 client gets, but for its last empty line.
pub(crate) fn response(answer: &Answer<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, answer.head.status.into());
    out.push(b' ');
    out.extend_from_slice(answer.head.reason());
    out.extend_from_slice(b"\r\n");
    answer.each_field(|name, value| push_field(out, name, value));
}

/// Writes the trace this request is part of into `trace`: the client's own if it names a valid one, with a span of the
/// edge; else a new one.
///
/// Source: W3C Trace Context, 3.2.
pub(crate) fn continue_trace(given: Option<&[u8]>, random: [u64; 3], trace: &mut Vec<u8>) {
    let hex = |part: &[u8]| {
        part.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && part.iter().any(|byte| *byte != b'0')
    };
    trace.clear();
    let span = random[2] | 1;
    if let Some(given) = given
        && given.len() == 55
        && given.starts_with(b"00-")
        && given[35] == b'-'
        && given[52] == b'-'
        && hex(&given[3..35])
        && hex(&given[36..52])
        && given[53..].iter().all(u8::is_ascii_hexdigit)
    {
        trace.extend_from_slice(&given[..36]);
        push_hex(trace, span);
        trace.extend_from_slice(&given[52..]);
        return;
    }
    trace.extend_from_slice(b"00-");
    push_hex(trace, random[0] | 1);
    push_hex(trace, random[1]);
    trace.push(b'-');
    push_hex(trace, span);
    trace.extend_from_slice(b"-00");
}

impl Version {
    /// Whether interim answers and chunks are understood (RFC 9110, 15.2; RFC 9112, 6.1).
    pub(crate) fn is_modern(self) -> bool {
        self != Version::Http10
    }
}

#[cfg(test)]
pub(crate) mod tests;
