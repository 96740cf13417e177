//! The heads the edge writes: requests to machines, answers to clients.
//!
//! Field names follow <https://fly.io/docs/networking/request-headers/>.

use std::net::SocketAddr;

use crate::head::{Field, Framing, RequestHead, ResponseHead, Version};

/// Facts about the client's connection that a machine is told.
#[derive(Clone, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) port: u16,
    pub(crate) region: &'a str,
    pub(crate) request_id: &'a str,
    /// Microseconds since 1970.
    pub(crate) received_us: i64,
}

const VIA: &str = "1.1 mayfly";

/// Fields of one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];

/// Fields that only the edge may set; a client's own are dropped.
const OURS: [&str; 10] = [
    "fly-client-ip",
    "fly-forwarded-port",
    "fly-forwarded-proto",
    "fly-forwarded-ssl",
    "fly-region",
    "fly-request-id",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-ssl",
    "x-request-start",
];

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

fn listed(name: &[u8], options: &[String]) -> bool {
    options
        .iter()
        .any(|option| name.eq_ignore_ascii_case(option.as_bytes()))
}

fn push_field(out: &mut Vec<u8>, bytes: &[u8], field: &Field) {
    out.extend_from_slice(&bytes[field.name.clone()]);
    out.extend_from_slice(b": ");
    out.extend_from_slice(&bytes[field.value.clone()]);
    out.extend_from_slice(b"\r\n");
}

/// The request a machine gets. `bytes` are those the head was read from.
pub(crate) fn request(head: &RequestHead, bytes: &[u8], origin: &Origin<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.length + 512);
    let Origin {
        peer,
        port,
        region,
        request_id,
        received_us,
    } = origin;
    let client = peer.ip().to_canonical();
    out.extend_from_slice(
        format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            head.method, head.target, head.authority
        )
        .as_bytes(),
    );
    let mut forwarded_for = Vec::new();
    for field in &head.fields {
        let name = &bytes[field.name.clone()];
        if name.eq_ignore_ascii_case(b"x-forwarded-for") {
            forwarded_for.extend_from_slice(&bytes[field.value.clone()]);
            forwarded_for.extend_from_slice(b", ");
        } else if !(name.eq_ignore_ascii_case(b"host")
            || is_one_of(name, &HOP_BY_HOP)
            || is_one_of(name, &OURS)
            || listed(name, &head.connection_options))
        {
            push_field(&mut out, bytes, field);
        }
        if head.upgrade && name.eq_ignore_ascii_case(b"upgrade") {
            push_field(&mut out, bytes, field);
        }
    }
    out.extend_from_slice(b"X-Forwarded-For: ");
    out.extend_from_slice(&forwarded_for);
    out.extend_from_slice(
        format!(
            "{client}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: {port}\r\nX-Forwarded-Ssl: off\r\n\
             X-Request-Start: t={received_us}\r\nFly-Client-Ip: {client}\r\nFly-Forwarded-Port: {port}\r\n\
             Fly-Forwarded-Proto: http\r\nFly-Forwarded-Ssl: off\r\nFly-Region: {region}\r\n\
             Fly-Request-Id: {request_id}\r\nVia: {VIA}\r\n"
        )
        .as_bytes(),
    );
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The answer a client gets, for a client of `version` whose connection is kept if `keep_alive`.
pub(crate) fn response(
    head: &ResponseHead,
    bytes: &[u8],
    version: Version,
    keep_alive: bool,
    request_id: &str,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.length + 128);
    out.extend_from_slice(format!("HTTP/1.1 {} {}\r\n", head.status, head.reason).as_bytes());
    for field in &head.fields {
        let name = &bytes[field.name.clone()];
        let switches = head.status == 101 && name.eq_ignore_ascii_case(b"upgrade");
        if switches || !(is_one_of(name, &HOP_BY_HOP) || listed(name, &head.connection_options)) {
            push_field(&mut out, bytes, field);
        }
    }
    if head.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if head.status >= 200 {
        if head.framing == Framing::Chunked && version == Version::Http11 {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        let connection: &[u8] = match (keep_alive, version) {
            (false, _) => b"Connection: close\r\n",
            (true, Version::Http10) => b"Connection: keep-alive\r\n",
            (true, Version::Http11) => b"",
        };
        out.extend_from_slice(connection);
        out.extend_from_slice(format!("Fly-Request-Id: {request_id}\r\nVia: {VIA}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_see_our_facts_and_no_forged_ones() {
        let bytes = b"POST /a HTTP/1.1\r\nHost: web.x\r\nFly-Client-IP: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\n\
            Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nAccept: a\r\n\r\n";
        let head = RequestHead::parse(bytes).unwrap().unwrap();
        let origin = Origin {
            peer: "[::ffff:10.0.0.7]:55".parse().unwrap(),
            port: 80,
            region: "iad",
            request_id: "R-iad",
            received_us: 17,
        };
        let text = String::from_utf8(request(&head, bytes, &origin)).unwrap();
        for line in [
            "Host: web.x",
            "Fly-Client-Ip: 10.0.0.7",
            "X-Forwarded-For: 8.8.8.8, 10.0.0.7",
            "Transfer-Encoding: chunked",
            "Accept: a",
            "X-Request-Start: t=17",
        ] {
            assert_eq!(
                text.lines().filter(|other| *other == line).count(),
                1,
                "{line}\n{text}"
            );
        }
        for absent in ["9.9.9.9", "X-Secret", "TE:", "Connection"] {
            assert!(!text.contains(absent), "{absent}\n{text}");
        }
    }

    #[test]
    fn answers_say_whether_the_connection_stays() {
        let bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nX: y\r\n\r\n";
        let head = ResponseHead::parse(bytes, "GET").unwrap().unwrap();
        let text =
            |version, keep| String::from_utf8(response(&head, bytes, version, keep, "R")).unwrap();
        assert!(!text(Version::Http11, true).contains("Connection"));
        assert!(text(Version::Http10, true).contains("Connection: keep-alive"));
        assert!(text(Version::Http11, false).contains("Connection: close"));
        assert!(text(Version::Http11, true).contains("X: y\r\n"));
    }
}
