//! WebSockets to a machine over HTTP/2 (RFC 8441): the handshake of HTTP/1 said in the other way, and its answer back.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use h2::ext::Protocol;
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_ACCEPT;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::machine::push_fields;
use crate::http::RequestHead;
use crate::http::field::Kind;

pub(super) const PROTOCOL: Protocol = Protocol::from_static("websocket");

/// Whether a request that wants another protocol wants this one.
pub(crate) fn is_handshake(head: &RequestHead) -> bool {
    let mut wanted = head.fields().filter(|(kind, ..)| *kind == Kind::Upgrade);
    let is_only = wanted
        .next()
        .is_some_and(|(_, _, value)| value.eq_ignore_ascii_case(b"websocket"));
    head.upgrade && head.method() == "GET" && is_only && wanted.next().is_none()
}

/// What a server of HTTP/1 proves with that it has understood the handshake (RFC 6455, 4.2.2): over HTTP/2 it need not,
/// and the client's key does not reach it.
pub(super) fn accept_of(handshake: &RequestHead) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(handshake.get("sec-websocket-key").unwrap_or_default());
    digest.update(GUID);
    BASE64_STANDARD.encode(digest.finish())
}

/// The head of HTTP/1 in which a machine agrees to a WebSocket.
pub(super) fn agreement(headers: &HeaderMap, accept: &str) -> Vec<u8> {
    let mut out =
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-accept: "
            .to_vec();
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut others = headers.clone();
    others.remove(SEC_WEBSOCKET_ACCEPT);
    push_fields(&mut out, &others, false);
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> RequestHead {
        let mut head = RequestHead::default();
        let text = format!("{lines}Host: a\r\nConnection: Upgrade\r\n\r\n");
        head.read(text.as_bytes()).unwrap().unwrap();
        head
    }

    #[test]
    fn handshakes_are_known_and_answered() {
        // The example of RFC 6455, 1.3.
        let head = read(
            "GET /chat HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        assert!(is_handshake(&head));
        assert_eq!(accept_of(&head), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for other in [
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket, other\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nUpgrade: other\r\n",
            "POST / HTTP/1.1\r\nUpgrade: websocket\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(!is_handshake(&read(other)), "{other}");
        }
    }
}
