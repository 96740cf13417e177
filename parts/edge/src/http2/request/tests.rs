use proptest::prelude::*;

use super::*;
use crate::http::head::HEAD_MAX;

/// Names and values.
type Given<'a> = &'a [(&'a str, &'a [u8])];

const START: [(&str, &[u8]); 4] = [
    (":method", b"GET"),
    (":scheme", b"https"),
    (":authority", b"w"),
    (":path", b"/"),
];

/// `fields` behind those of [`START`] that they do not give themselves; an empty one takes it away.
fn request(fields: Given<'_>, ended: bool) -> Result<Inbound, Flaw> {
    let given = |name: &str| fields.iter().any(|(other, _)| *other == name);
    let (pseudo, others): (Vec<_>, Vec<_>) =
        fields.iter().partition(|(name, _)| name.starts_with(':'));
    let missing = START.iter().filter(|(name, _)| !given(name));
    let pseudo = missing.chain(pseudo).filter(|(_, value)| *value != b"-");
    read(pseudo.chain(others), ended)
}

fn read<'a>(
    fields: impl Iterator<Item = &'a (&'a str, &'a [u8])>,
    ended: bool,
) -> Result<Inbound, Flaw> {
    let mut inbound = Inbound::default();
    inbound.begin(HEAD_MAX);
    for (name, value) in fields {
        let name = name.as_bytes();
        inbound.field(name, value, Tag::of(name, value));
    }
    inbound.finish(ended, &|| "bm9uY2U=".to_owned())?;
    Ok(inbound)
}

#[test]
fn pseudo_fields_become_a_request_line_and_a_host() {
    let read = |fields: Given<'_>, ended: bool| request(fields, ended).unwrap().head;
    let whole: [(&str, &[u8]); 3] = [
        (":authority", b"Web.x:8443"),
        (":path", b"/a?b=c"),
        ("accept", b"*/*"),
    ];
    let head = read(&whole, true);
    assert_eq!(
        (head.method(), head.target(), head.host(), head.authority()),
        ("GET", "/a?b=c", "web.x", "Web.x:8443")
    );
    assert_eq!(
        (head.version, head.framing),
        (Version::Http2, Framing::None)
    );
    assert_eq!(head.get("accept"), Some(&b"*/*"[..]));
    let host = read(&[(":authority", b"-"), ("host", b"web.x")], true);
    assert_eq!(host.host(), "web.x");
    let same = read(&[(":authority", b"web.x"), ("host", b"WEB.x")], true);
    let hosts = same.fields().filter(|(_, name, _)| *name == b"host");
    assert_eq!(hosts.count(), 1);
    let cookies: [(&str, &[u8]); 3] = [("cookie", b"a=1"), ("x", b"y"), ("cookie", b"b=2")];
    assert_eq!(read(&cookies, true).get("cookie"), Some(&b"a=1; b=2"[..]));
    let options: [(&str, &[u8]); 2] = [(":method", b"OPTIONS"), (":path", b"*")];
    assert_eq!(read(&options, true).target(), "*");
    assert!(read(&[("te", b"trailers")], false).takes_trailers);
}

#[test]
fn bodies_are_framed_for_http_1() {
    for (method, length, ended, wanted, said) in [
        ("GET", None, true, Framing::None, None),
        ("GET", None, false, Framing::Chunked, None),
        ("POST", None, false, Framing::Chunked, None),
        ("POST", Some("5"), false, Framing::Length(5), Some(5)),
        ("POST", Some("0"), true, Framing::None, Some(0)),
    ] {
        let mut fields = vec![(":method", method.as_bytes())];
        fields.extend(length.map(|length: &str| ("content-length", length.as_bytes())));
        let inbound = request(&fields, ended).unwrap();
        assert_eq!(
            (inbound.head.framing, inbound.length),
            (wanted, said),
            "{method} {length:?} {ended}"
        );
    }
    let empty = request(&[(":method", b"POST")], true).unwrap().head;
    assert_eq!(
        empty.get("content-length"),
        Some(&b"0"[..]),
        "servers wait for a body otherwise"
    );
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let cases: [(Given<'_>, u16); 17] = [
        (&[("host", b"other")], 400),
        (&[(":authority", b"-"), ("host", b"a"), ("host", b"a")], 400),
        (&[(":authority", b"-")], 400),
        (&[("x", b" y")], 400),
        (&[("x", b"y\t")], 400),
        (&[("content-length", b"1"), ("content-length", b"2")], 400),
        (&[("content-length", b"1"), ("content-length", b"1")], 400),
        (&[("content-length", b"+1")], 400),
        (&[("content-length", b"1,1")], 400),
        (&[(":authority", b"user@w")], 400),
        (&[(":authority", b"w/x")], 400),
        (&[(":scheme", b"ftp")], 400),
        (&[(":path", b"http://other/")], 400),
        (&[(":path", b"*")], 400),
        (&[(":path", b"/a b")], 400),
        (&[(":path", b"/#")], 400),
        (
            &[(":method", b"CONNECT"), (":scheme", b"-"), (":path", b"-")],
            405,
        ),
    ];
    for (fields, status) in cases {
        match request(fields, false) {
            Err(Flaw::Refused(refused)) => assert_eq!(refused.status, status, "{fields:?}"),
            other => panic!("{fields:?}: {other:?}"),
        }
    }
    assert!(request(&[("content-length", b"1")], true).is_err());
    let many: Vec<(String, Vec<u8>)> = (0..200)
        .map(|n| (format!("x-{n}"), b"y".to_vec()))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let long = vec![b'y'; HEAD_MAX];
    for fields in [&many[..], &[("x", &long)]] {
        match request(fields, true) {
            Err(Flaw::Refused(refused)) => assert_eq!(refused.status, 431),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_request_is_malformed() {
    let cases: [Given<'_>; 21] = [
        &[("transfer-encoding", b"chunked")],
        &[("connection", b"close")],
        &[("keep-alive", b"1")],
        &[("upgrade", b"websocket")],
        &[("proxy-connection", b"close")],
        &[("te", b"gzip")],
        &[("X", b"y")],
        &[("x y", b"z")],
        &[("", b"z")],
        &[("x", b"a\r\nb: c")],
        &[("x", b"a\0")],
        &[("x", b"a\x7f")],
        &[(":status", b"200")],
        &[(":method", b"GET"), (":method", b"GET")],
        &[(":method", b"-")],
        &[(":scheme", b"-")],
        &[(":path", b"-")],
        &[(":path", b"")],
        &[(":method", b"G T")],
        &[(":protocol", b"websocket")],
        &[(":authority", b"a"), (":authority", b"a")],
    ];
    for fields in cases {
        assert_eq!(
            request(fields, false).unwrap_err(),
            Flaw::Malformed,
            "{fields:?}"
        );
    }
    let behind: (&str, &[u8]) = ("x", b"y");
    let late = [&START[..3], &[behind], &START[3..]].concat();
    assert_eq!(read(late.iter(), true).unwrap_err(), Flaw::Malformed);
}

#[test]
fn extended_connect_is_a_handshake_for_the_machine() {
    let fields: [(&str, &[u8]); 5] = [
        (":method", b"CONNECT"),
        (":path", b"/chat"),
        (":protocol", b"websocket"),
        ("sec-websocket-version", b"13"),
        ("sec-websocket-key", b"theirs"),
    ];
    let inbound = request(&fields, false).unwrap();
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
    let mut other = fields;
    other[2].1 = b"connect-udp";
    match request(&other, false) {
        Err(Flaw::Refused(refused)) => assert_eq!(refused.status, 501),
        flaw => panic!("{flaw:?}"),
    }
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
            ":path",
            ":protocol",
            "x y",
            "X",
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
        method in "[A-Z]{1,7}|POST|GET|CONNECT|[ -~]{0,4}",
        path in "/[!-~]{0,20}|[ -~]{0,9}",
        authority in "[a-z.:@0-9-]{0,12}",
        fields in prop::collection::vec((field_name(), field_value()), 0..8),
        ended in any::<bool>(),
    ) {
        let start: [(&str, &[u8]); 4] = [
            (":method", method.as_bytes()),
            (":scheme", b"https"),
            (":authority", authority.as_bytes()),
            (":path", path.as_bytes()),
        ];
        let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let Ok(inbound) = read(start.iter().chain(&fields), ended) else { return Ok(()) };
        let head = &inbound.head;
        let mut out = Vec::new();
        crate::http::outbound::request(head, &crate::http::outbound::tests::origin(), &Default::default(), None, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let mut again = RequestHead::default();
        prop_assert_eq!(again.read(&out), Ok(Some(out.len())), "{}", text);
        prop_assert_eq!(again.framing, head.framing);
        prop_assert_eq!((again.method(), again.target(), again.host()), (head.method(), head.target(), head.host()));
        let count = |wanted: &str| again.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())).count();
        prop_assert_eq!(count("host"), 1);
        prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
        prop_assert_eq!(count("upgrade") + count("keep-alive"), 0);
        let passes = |name: &str| !matches!(name, "host" | "cookie" | "content-length") && classify(name.as_bytes()) == Kind::Other;
        for (name, value) in fields.iter().filter(|(name, _)| passes(name)) {
            let came = fields.iter().filter(|other| **other == (*name, *value)).count();
            let went = again.fields().filter(|(_, other, given)| *other == name.as_bytes() && given == value).count();
            prop_assert_eq!(came, went, "{} is lost, new or split", name);
        }
        for (_, name, value) in again.fields() {
            prop_assert!(!name.is_empty() && !name.contains(&b':'));
            prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
}
