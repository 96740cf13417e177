//! The request that turns a connection into a WebSocket (RFC 6455, 4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// Bytes a request may have.
pub(crate) const REQUEST_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What is known of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// More has to be read.
    Partial,
    /// A WebSocket is asked for: the whole answer, and how long the request was.
    Upgrade { answer: String, length: usize },
    /// Something else is asked for: the whole answer.
    Refused(&'static str),
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const BAD_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const UPGRADE_REQUIRED: &str = "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

pub(crate) fn read(bytes: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_MAX => return Request::Partial,
        _ => return Request::Refused(BAD_REQUEST),
    };
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let has = |name: &str, word: &str| {
        header(name).is_some_and(|value| {
            value
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(word))
        })
    };
    if request.method != Some("GET") || request.path != Some("/") {
        return Request::Refused(NOT_FOUND);
    }
    let asked = has("connection", "upgrade") && has("upgrade", "websocket");
    match header("sec-websocket-key") {
        Some(key) if asked && header("sec-websocket-version") == Some("13") => Request::Upgrade {
            answer: format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                 sec-websocket-accept: {}\r\n\r\n",
                accept(key)
            ),
            length,
        },
        _ => Request::Refused(UPGRADE_REQUIRED),
    }
}

fn accept(key: &str) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(KEY_SUFFIX);
    STANDARD.encode(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        let request = "GET / HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Origin: wss://192.0.2.1:443/\r\n\r\n";
        for cut in 0..request.len() {
            assert_eq!(read(&request.as_bytes()[..cut]), Request::Partial, "{cut}");
        }
        let Request::Upgrade { answer, length } = read(request.as_bytes()) else {
            panic!("an upgrade");
        };
        assert_eq!(length, request.len());
        assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn everything_else_is_refused() {
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
            ("GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("\0\0\0\0\0", "400"),
        ] {
            let Request::Refused(answer) = read(request.as_bytes()) else {
                panic!("{request} is refused");
            };
            assert!(answer.contains(status), "{request}: {answer}");
        }
        let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; REQUEST_MAX]].concat();
        assert_eq!(read(&endless), Request::Refused(BAD_REQUEST));
    }
}
