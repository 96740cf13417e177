use http::header::HeaderMap;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;

use super::*;

fn parts(method: &str, uri: &str, fields: &[(&str, &[u8])]) -> request::Parts {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = uri.parse::<Uri>().unwrap();
    for (name, value) in fields {
        request.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    request.into_parts().0
}

fn read(parts: &request::Parts, ended: bool) -> Result<Inbound, Refused> {
    let mut inbound = Inbound::default();
    inbound.read(parts, ended, || "bm9uY2U=".to_owned())?;
    Ok(inbound)
}

#[test]
fn pseudo_fields_become_a_request_line_and_a_host() {
    let read = |method: &str, uri: &str, fields: &[(&str, &[u8])], ended: bool| {
        read(&parts(method, uri, fields), ended).unwrap().head
    };
    let head = read(
        "GET",
        "https://Web.x:8443/a?b=c",
        &[("accept", b"*/*")],
        true,
    );
    assert_eq!(
        (head.method(), head.target(), head.host(), head.authority()),
        ("GET", "/a?b=c", "web.x", "Web.x:8443")
    );
    assert_eq!(
        (head.version, head.framing),
        (Version::Http2, Framing::None)
    );
    assert_eq!(head.get("accept"), Some(&b"*/*"[..]));
    let host = read("GET", "/x", &[("host", b"web.x")], true);
    assert_eq!(host.host(), "web.x");
    let same = read("GET", "https://web.x/", &[("host", b"WEB.x")], true);
    assert_eq!(
        same.fields()
            .filter(|(_, name, _)| *name == b"host")
            .count(),
        1
    );
    let cookies = read(
        "GET",
        "https://w/",
        &[("cookie", b"a=1"), ("x", b"y"), ("cookie", b"b=2")],
        true,
    );
    assert_eq!(cookies.get("cookie"), Some(&b"a=1; b=2"[..]));
    assert_eq!(read("OPTIONS", "*", &[("host", b"w")], true).target(), "*");
    assert!(read("POST", "https://w/", &[("te", b"trailers")], false).takes_trailers);
}

#[test]
fn bodies_are_framed_for_http_1() {
    for (method, length, ended, wanted) in [
        ("GET", None, true, Framing::None),
        ("GET", None, false, Framing::Chunked),
        ("POST", None, false, Framing::Chunked),
        ("POST", Some("5"), false, Framing::Length(5)),
        ("POST", Some("0"), true, Framing::None),
    ] {
        let length = length.map(|length: &str| ("content-length", length.as_bytes()));
        let head = read(&parts(method, "https://w/", length.as_slice()), ended)
            .unwrap()
            .head;
        assert_eq!(head.framing, wanted, "{method} {length:?} {ended}");
    }
    let empty = read(&parts("POST", "https://w/", &[]), true).unwrap().head;
    assert_eq!(
        empty.get("content-length"),
        Some(&b"0"[..]),
        "servers wait for a body otherwise"
    );
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    for (method, uri, fields, status) in [
        ("GET", "https://w/", &[("host", &b"other"[..])][..], 400),
        ("GET", "/", &[("host", b"a"), ("host", b"a")], 400),
        ("GET", "/", &[], 400),
        (
            "GET",
            "https://w/",
            &[("transfer-encoding", b"chunked")],
            400,
        ),
        ("GET", "https://w/", &[("connection", b"close")], 400),
        ("GET", "https://w/", &[("keep-alive", b"1")], 400),
        ("GET", "https://w/", &[("upgrade", b"websocket")], 400),
        ("GET", "https://w/", &[("proxy-connection", b"close")], 400),
        ("GET", "https://w/", &[("te", b"gzip")], 400),
        ("GET", "https://w/", &[("x", b" y")], 400),
        ("GET", "https://w/", &[("x", b"y\t")], 400),
        (
            "POST",
            "https://w/",
            &[("content-length", b"1"), ("content-length", b"2")],
            400,
        ),
        (
            "POST",
            "https://w/",
            &[("content-length", b"1"), ("content-length", b"1")],
            400,
        ),
        ("POST", "https://w/", &[("content-length", b"+1")], 400),
        ("POST", "https://w/", &[("content-length", b"1,1")], 400),
        ("GET", "https://user@w/", &[], 400),
        ("GET", "ftp://w/", &[], 400),
        ("CONNECT", "w:80", &[], 405),
    ] {
        let refused = read(&parts(method, uri, fields), false).expect_err(uri);
        assert_eq!(
            refused.status, status,
            "{method} {uri} {fields:?}: {}",
            refused.reason
        );
    }
    assert!(
        read(
            &parts("POST", "https://w/", &[("content-length", b"1")]),
            true
        )
        .is_err()
    );
    let many: Vec<(String, Vec<u8>)> = (0..200)
        .map(|n| (format!("x-{n}"), b"y".to_vec()))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        read(&parts("GET", "https://w/", &many), true)
            .unwrap_err()
            .status,
        431
    );
    let long = vec![b'y'; HEAD_MAX];
    assert_eq!(
        read(&parts("GET", "https://w/", &[("x", &long)]), true)
            .unwrap_err()
            .status,
        431
    );
}

#[test]
fn extended_connect_is_a_handshake_for_the_machine() {
    let mut parts = parts(
        "CONNECT",
        "https://w/chat",
        &[
            ("sec-websocket-version", b"13"),
            ("sec-websocket-key", b"theirs"),
        ],
    );
    parts.extensions.insert(Protocol::from_static("websocket"));
    let inbound = read(&parts, false).unwrap();
    assert!(inbound.tunnel && inbound.head.upgrade);
    assert_eq!(
        (inbound.head.method(), inbound.head.target()),
        ("GET", "/chat")
    );
    for (name, value) in [
        ("upgrade", "websocket"),
        ("sec-websocket-key", "bm9uY2U="),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(inbound.head.get(name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(inbound.head.framing, Framing::None);
    parts
        .extensions
        .insert(Protocol::from_static("connect-udp"));
    assert_eq!(read(&parts, false).unwrap_err().status, 501);
}

#[test]
fn trailers_pass_unless_they_would_change_the_message() {
    let trailers = read_trailers(b"Grpc-Status: 0\r\ngrpc-message:\r\nContent-Length: 5\r\nHost: x\r\nTransfer-Encoding: chunked\r\n").unwrap();
    let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["grpc-status", "grpc-message"]);
    assert_eq!(
        write_trailers(&trailers),
        b"grpc-status: 0\r\ngrpc-message: \r\n"
    );
    for wrong in [
        &b"no colon\r\n"[..],
        b"a: b\r\n\r\nGET / HTTP/1.1\r\n",
        b": x\r\n",
        b"a b: c\r\n",
    ] {
        assert!(read_trailers(wrong).is_err(), "{wrong:?}");
    }
    let mut forged = HeaderMap::new();
    forged.insert("x-sum", HeaderValue::from_static("1"));
    forged.insert("content-length", HeaderValue::from_static("9"));
    assert_eq!(write_trailers(&forged), b"x-sum: 1\r\n");
}

fn field_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_-]{0,12}",
        prop::sample::select(vec![
            "content-length",
            "transfer-encoding",
            "host",
            "connection",
            "te",
            "cookie",
            "upgrade",
            "expect",
            "content_length",
            "transfer_encoding",
            "x-forwarded-for",
            "fly-client-ip",
            "trailer",
        ])
        .prop_map(str::to_owned),
    ]
}

fn field_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::sample::select(vec![
            &b"chunked"[..],
            b"5",
            b"0",
            b"web.x",
            b"trailers",
            b"100-continue",
            b"close",
            b"a\r\nb: c",
            b"5\r\n\r\nGET / HTTP/1.1"
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}

proptest! {
    /// What is accepted, any HTTP/1 reader reads as one message with the fields that came, and nothing behind it.
    #[test]
    fn any_fields_have_one_reading_or_none(
        method in "[A-Z]{1,7}|POST|GET|CONNECT",
        path in "/[!-~]{0,20}",
        authority in "[a-z.:@0-9-]{0,12}",
        fields in prop::collection::vec((field_name(), field_value()), 0..8),
        ended in any::<bool>(),
    ) {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let uri = format!("https://{authority}{path}").parse::<Uri>().or_else(|_| path.parse());
        let Ok(uri) = uri else { return Ok(()) };
        *request.uri_mut() = uri;
        for (name, value) in &fields {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                request.headers_mut().append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let (parts, ()) = request.into_parts();
        let Ok(inbound) = read(&parts, ended) else { return Ok(()) };
        let head = &inbound.head;
        let count = |wanted: &str| head.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())).count();
        prop_assert_eq!(count("host"), 1);
        prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
        prop_assert_eq!(count("connection") + count("upgrade") + count("keep-alive"), 0);
        prop_assert_eq!(head.framing == Framing::Chunked, count("transfer-encoding") == 1);
        prop_assert!(head.target().bytes().all(|byte| byte.is_ascii_graphic()));
        for (_, name, value) in head.fields() {
            prop_assert!(!name.is_empty() && !name.contains(&b':'));
            prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            let name = std::str::from_utf8(name).unwrap();
            let added = matches!(name, "host" | "transfer-encoding" | "content-length" | "cookie");
            prop_assert!(added || parts.headers.get_all(name).iter().any(|given| given.as_bytes() == value), "{} is new", name);
        }
        let came = parts.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "cookie" | "content-length")).count();
        let went = head.fields().filter(|(_, name, _)| !matches!(*name, b"host" | b"cookie" | b"content-length" | b"transfer-encoding")).count();
        prop_assert_eq!(came, went, "no field is lost or split");
    }

    #[test]
    fn any_trailers_are_fields_or_refused(lines in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(trailers) = read_trailers(&lines) {
            let written = write_trailers(&trailers);
            prop_assert_eq!(read_trailers(&written).unwrap(), trailers);
        }
    }
}
