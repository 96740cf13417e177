use super::*;

pub(crate) fn origin() -> Origin<'static> {
    Origin {
        peer: "[::ffff:10.0.0.7]:55".parse().unwrap(),
        address: "192.0.2.1".parse().unwrap(),
        port: 8443,
        tls: true,
        region: "iad",
        request_id: "R-iad",
        trace: b"00-T-S-00",
        received_us: 17,
    }
}

fn sent(text: &str, extra: &Extra) -> String {
    let mut head = RequestHead::default();
    head.read(text.as_bytes()).unwrap().unwrap();
    let mut out = Vec::new();
    request(&head, &origin(), extra, None, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn machines_see_our_facts_and_no_forged_ones() {
    let text = sent(
        "POST /a HTTP/1.1\r\nHost: web.x\r\nFly-Client-IP: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\nFly_Region: zzz\r\n\
         X-Forwarded-Port: 99\r\nX-Forwarded-Proto: gopher\r\nFly-Replay-Src: instance=x\r\ntraceparent: t\r\n\
         Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nTransfer-Encoding: chunked\r\nAccept: a\r\nVia: 1.0 other\r\n\r\n",
        &Extra::default(),
    );
    for line in [
        "Host: web.x",
        "Fly-Client-IP: 10.0.0.7",
        "Fly-Forwarded-Port: 8443",
        "Fly-Forwarded-Proto: https",
        "Fly-Forwarded-SSL: on",
        "Fly-Region: iad",
        "Fly-Request-Id: R-iad",
        "Fly-Traceparent: 00-T-S-00",
        "X-Forwarded-For: 8.8.8.8, 10.0.0.7, 192.0.2.1",
        "X-Forwarded-Port: 99",
        "X-Forwarded-Proto: https",
        "X-Forwarded-SSL: on",
        "X-Request-Start: t=17",
        "Transfer-Encoding: chunked",
        "Via: 1.0 other",
        "Via: 1.1 mayfly",
        "traceparent: t",
        "Accept: a",
    ] {
        assert_eq!(
            text.lines().filter(|other| *other == line).count(),
            1,
            "{line}\n{text}"
        );
    }
    for absent in [
        "9.9.9.9",
        "zzz",
        "gopher",
        "Replay-Src",
        "X-Secret",
        "Connection",
    ] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
    assert!(text.ends_with("\r\n\r\n") && !text[..text.len() - 4].contains("\r\n\r\n"));
}

#[test]
fn routing_may_change_target_and_fields_but_not_framing() {
    let extra = Extra {
        target: Some("/new?x=1".to_owned()),
        set: vec![
            ("Authorization".to_owned(), "Bearer t".to_owned()),
            ("fly-replay-src".to_owned(), "instance=a".to_owned()),
        ],
        delete: vec!["cookie".to_owned(), "content-length".to_owned()],
    };
    let text = sent(
        "POST /old HTTP/1.1\r\nHost: web.x\r\nCookie: a=b\r\nauthorization: mine\r\nContent-Length: 2\r\n\r\n",
        &extra,
    );
    assert!(text.starts_with("POST /new?x=1 HTTP/1.1\r\n"), "{text}");
    assert!(
        text.contains("Authorization: Bearer t\r\n") && !text.contains("mine"),
        "{text}"
    );
    assert!(text.contains("fly-replay-src: instance=a\r\n"), "{text}");
    assert!(
        text.contains("Content-Length: 2\r\n") && !text.contains("Cookie"),
        "{text}"
    );
}

fn given(text: &str, options: Option<&HttpOptions>) -> String {
    let mut head = ResponseHead::default();
    head.read(text.as_bytes(), "GET").unwrap().unwrap();
    let answer = Answer {
        head: &head,
        framing: head.framing,
        request_id: "R",
        options,
        compression: Compression::Off,
    };
    let mut out = Vec::new();
    response(&answer, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn answers_carry_our_marks_unless_pristine() {
    let text = "HTTP/1.1 200 OK\r\nServer: app\r\nVia: 1.1 x\r\nFly-Request-Id: forged\r\nFly-Region: ams\r\n\
                Connection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\n";
    let ours = given(text, None);
    for line in [
        "Server: mayfly",
        "Via: 1.1 x",
        "Via: 1.1 mayfly",
        "Fly-Request-Id: R",
        "Fly-Region: ams",
        "Content-Length: 2",
    ] {
        assert!(ours.lines().any(|other| other == line), "{line}\n{ours}");
    }
    for absent in ["forged", "Server: app", "close", "X-Hop", "Keep-Alive"] {
        assert!(!ours.contains(absent), "{absent}\n{ours}");
    }
    let pristine = HttpOptions {
        pristine: true,
        ..HttpOptions::default()
    };
    let theirs = given(text, Some(&pristine));
    assert!(!theirs.contains("mayfly"), "{theirs}");
    for line in ["Server: app", "Via: 1.1 x", "Fly-Request-Id: forged"] {
        assert!(
            theirs.lines().any(|other| other == line),
            "{line}\n{theirs}"
        );
    }
}

#[test]
fn configured_fields_are_set_and_removed() {
    let options = HttpOptions {
        response_headers: [
            ("X-Gone".to_owned(), None),
            ("Server".to_owned(), None),
            ("X-One".to_owned(), Some(vec!["1".to_owned()])),
            (
                "X-Many".to_owned(),
                Some(vec!["a".to_owned(), "b".to_owned()]),
            ),
            ("Content-Length".to_owned(), Some(vec!["7".to_owned()])),
        ]
        .into(),
        ..HttpOptions::default()
    };
    let text = given(
        "HTTP/1.1 200 OK\r\nx-gone: 1\r\nx-one: 0\r\nContent-Length: 2\r\n\r\n",
        Some(&options),
    );
    assert!(
        !text.contains("gone") && !text.contains("Server") && !text.contains(": 0"),
        "{text}"
    );
    for line in ["X-One: 1", "X-Many: a", "X-Many: b", "Content-Length: 2"] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let interim = given(
        "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
        Some(&options),
    );
    assert_eq!(interim, "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n");
}

#[test]
fn traces_are_continued_or_begun() {
    let continue_trace = |given, random| {
        let mut trace = b"what was before".to_vec();
        continue_trace(given, random, &mut trace);
        String::from_utf8(trace).unwrap()
    };
    let given = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(
        continue_trace(Some(given), [1, 2, 3]),
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000003-01"
    );
    for wrong in [
        &b""[..],
        b"00-x",
        &[b'0'; 55],
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(
            continue_trace(Some(wrong), [1, 2, 3]),
            "00-00000000000000010000000000000002-0000000000000003-00"
        );
    }
}

#[test]
fn a_coded_answer_says_so_and_loses_what_no_longer_holds() {
    let with = |text: &str, compression| {
        let mut head = ResponseHead::default();
        head.read(text.as_bytes(), "GET").unwrap().unwrap();
        let answer = Answer {
            head: &head,
            framing: Framing::UntilClose,
            request_id: "R",
            options: None,
            compression,
        };
        let mut out = Vec::new();
        response(&answer, &mut out);
        String::from_utf8(out).unwrap()
    };
    let text =
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\nContent-Length: 900\r\n\r\n";
    let coded = with(text, Compression::With(crate::compress::Coding::Brotli));
    for line in [
        "Content-Encoding: br",
        "Vary: Accept-Encoding",
        "ETag: W/\"a\"",
    ] {
        assert!(coded.lines().any(|other| other == line), "{line}\n{coded}");
    }
    for absent in ["Accept-Ranges", "Content-Length"] {
        assert!(!coded.contains(absent), "{absent}\n{coded}");
    }
    let plain = with(text, Compression::Identity);
    assert!(plain.contains("Vary: Accept-Encoding") && plain.contains("ETag: \"a\""));
    let varying = "HTTP/1.1 200 OK\r\nVary: Cookie, accept-encoding\r\n\r\n";
    let once = with(varying, Compression::Identity);
    assert_eq!(once.to_lowercase().matches("vary").count(), 1, "{once}");
}
