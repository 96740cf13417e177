use proptest::prelude::*;

use super::*;

fn request(text: &str) -> Result<Option<RequestHead>, Refused> {
    let mut head = RequestHead::default();
    Ok(head.read(text.as_bytes())?.map(|length| {
        assert!(length <= text.len());
        head
    }))
}

fn whole(text: &str) -> RequestHead {
    request(text).unwrap().unwrap()
}

#[test]
fn framing_and_host_are_read() {
    let head =
        whole("POST /a?b HTTP/1.1\r\nHost: Web.Example.:8080\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(
        (head.host(), head.framing, head.keep_alive),
        ("web.example", Framing::Length(5), true)
    );
    assert_eq!(
        (head.method(), head.target(), head.path(), head.authority()),
        ("POST", "/a?b", "/a", "Web.Example.:8080")
    );
    let head = whole("GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n");
    assert!(head.keep_alive);
    let head = whole("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((head.host(), head.keep_alive), ("", false));
    assert_eq!(
        request("GET / HTTP/1.1\r\nHost: w").map(|head| head.is_some()),
        Ok(false)
    );
}

#[test]
fn absolute_targets_win_over_the_host_field() {
    for (target, host, path) in [
        ("http://other.example/x", "other.example", "/x"),
        ("HTTPS://Other.example:81", "other.example", "/"),
        ("http://other.example?q=1", "other.example", "/?q=1"),
        ("http://[::1]:80/", "[::1]", "/"),
    ] {
        let head = whole(&format!("GET {target} HTTP/1.1\r\nHost: web\r\n\r\n"));
        assert_eq!((head.host(), head.target()), (host, path), "{target}");
    }
    for wrong in [
        "ftp://a/",
        "http:///x",
        "http://user@host/",
        "web:80",
        "//x/..",
        "http://a b/",
        "/a#b",
        "http://[zz]/",
        "/\u{e9}",
    ] {
        let answer = request(&format!("GET {wrong} HTTP/1.1\r\nHost: web\r\n\r\n"));
        // Two slashes at the beginning are a path like any other.
        assert_eq!(answer.is_err(), wrong != "//x/..", "{wrong}");
    }
}

/// What is known to be read in two ways by two parsers somewhere.
#[test]
fn ambiguous_requests_are_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: web\r\n{lines}\r\n");
    for (lines, status) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        ("Content-Length: 1\r\ncontent-length: 2\r\n", 400),
        ("Content-Length: 1, 1\r\n", 400),
        ("Content-Length: +1\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0x1\r\n", 400),
        ("Content-Length: 1 2\r\n", 400),
        ("Content-Length: \r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length : 1\r\n", 400),
        (" Content-Length: 1\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 501),
        ("Transfer-Encoding: chunked;q=1\r\n", 501),
        ("Transfer-Encoding:\r\n", 501),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            501,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            501,
        ),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding\r\n : chunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("X: a\r\n folded\r\n", 400),
        ("X: a\r\n\tfolded\r\n", 400),
        ("X: a\nY: b\r\n", 400),
        ("X: a\n", 400),
        ("X: a\rb\r\n", 400),
        ("X: a\0b\r\n", 400),
        ("Host: other\r\n", 400),
        ("Bad Name: x\r\n", 400),
        ("X\x01: x\r\n", 400),
        (": x\r\n", 400),
        ("no-colon\r\n", 400),
    ] {
        let refused = request(&with(lines)).expect_err(lines);
        assert_eq!(refused.status, status, "{lines:?}: {}", refused.reason);
    }
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ] {
        let refused = request(text).expect_err(text);
        assert_eq!(refused.status, status, "{text:?}: {}", refused.reason);
    }
}

#[test]
fn huge_heads_are_refused_before_they_are_whole() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(HEAD_MAX));
    assert_eq!(request(&long).unwrap_err().status, 431);
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(HEADERS_MAX)
    );
    assert_eq!(request(&many).unwrap_err().status, 431);
}

#[test]
fn connection_takes_away_only_what_is_the_clients() {
    let head = whole(
        "POST / HTTP/1.1\r\nHost: web\r\nConnection: x-a, Content-Length, X-Forwarded-For, close\r\nX-A: 1\r\nX-B: 2\r\n\
         Content-Length: 3\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    );
    let kinds: Vec<Kind> = head.fields().map(|(kind, ..)| kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Host,
            Kind::Connection,
            Kind::Hop,
            Kind::Other,
            Kind::ContentLength,
            Kind::ForwardedFor
        ]
    );
    assert!(!head.keep_alive && head.framing == Framing::Length(3));
}

#[test]
fn what_clients_wish_and_take_is_noticed() {
    let head = whole(
        "GET / HTTP/1.1\r\nHost: web\r\nAccept: text/HTML, */*\r\nTE: trailers\r\nFly-Prefer-Region: ams\r\n\
         Connection: Upgrade, te\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(head.takes_trailers && head.routing && head.upgrade && head.expects_continue);
    assert!(!head.wants_json);
    assert_eq!(head.get("fly-prefer-region"), Some(&b"ams"[..]));
    let mut used = head;
    used.read(b"GET / HTTP/1.1\r\nHost: web\r\nAccept: */*\r\n\r\n")
        .unwrap();
    assert!(used.wants_json && !used.routing && !used.upgrade && !used.takes_trailers);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = RequestHead::default().read(&bytes);
    }

    #[test]
    fn cutting_a_head_never_changes_its_meaning(cut in 0usize..80) {
        let text = "POST /x HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        let parsed = request(&text[..cut.min(text.len())]).unwrap();
        prop_assert_eq!(parsed.is_some(), cut >= text.len());
    }

    /// Whatever is accepted says the same after it was written for a machine and read again.
    #[test]
    fn what_is_accepted_has_one_reading(
        text in "(GET|POST|PUT) (/[a-z?=/%.]{0,9}|http://[a-z.:1]{1,7}/?) HTTP/1\\.[01]\r\n\
                 Host: ?[a-zA-Z.:0-9]{1,8}\r\n\
                 ((Content-Length|Transfer-Encoding|Connection|Fly-Client-IP|X_Forwarded_For|TE|Upgrade|X-A): ?(chunked|[0-9]{1,3}|x-a|close|upgrade|[ -~]{0,6})\r\n){0,5}\r\n"
    ) {
        has_one_reading(text.as_bytes())?;
    }

    /// The same for real heads and for what smugglers send, with some bytes changed, doubled or gone.
    #[test]
    fn what_is_nearly_a_head_has_one_reading_or_none(
        head in prop::sample::select(HEADS.to_vec()),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..4, prop::sample::select(EDITS.to_vec())), 0..6),
    ) {
        let mut bytes = head.as_bytes().to_vec();
        for (place, kind, byte) in edits {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => bytes.insert(place, bytes[place]),
                _ if bytes.len() > 1 => _ = bytes.remove(place),
                _ => {}
            }
        }
        has_one_reading(&bytes)?;
    }
}

const HEADS: [&str; 10] = [
    "GET / HTTP/1.1\r\nHost: web.example\r\n\r\n",
    "POST /a?b=c HTTP/1.1\r\nHost: Web.Example:80\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\nX: b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n Transfer-Encoding: chunked\r\n\r\n",
    "GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\nHost: c.example\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: close, Fly-Client-IP\r\nFly_Client_IP: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
];

/// What parsers have been confused with.
const EDITS: [u8; 14] = *b"\r\n\t :;,0x+\0\x0b\x7f\xff";

/// Whatever is accepted says the same after it was written for a machine and read again, and leaves no byte over that
/// another reader could take for the beginning of something else.
fn has_one_reading(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut head = RequestHead::default();
    let Ok(Some(_)) = head.read(bytes) else {
        return Ok(());
    };
    let origin = crate::http::outbound::tests::origin();
    let mut out = Vec::new();
    crate::http::outbound::request(&head, &origin, &Default::default(), None, &mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    let mut again = RequestHead::default();
    prop_assert_eq!(again.read(&out), Ok(Some(out.len())), "{}", text);
    prop_assert_eq!(again.framing, head.framing);
    prop_assert_eq!(again.method(), head.method());
    prop_assert_eq!(again.target(), head.target());
    if !head.host().is_empty() {
        prop_assert_eq!(again.host(), head.host());
    }
    prop_assert_eq!(again.upgrade, head.upgrade);
    let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
    for line in &lines[..lines.len() - 1] {
        let line = line.strip_suffix(b"\r");
        let whole = line.is_some_and(|line| !line.contains(&b'\r') && !line.contains(&0));
        prop_assert!(whole, "{}", text);
    }
    let named = |name: &str| {
        again
            .fields()
            .filter(|(_, other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .count()
    };
    prop_assert_eq!((named("host"), named("fly-client-ip")), (1, 1), "{}", text);
    prop_assert!(
        named("content-length") + named("transfer-encoding") <= 1,
        "{}",
        text
    );
    Ok(())
}
