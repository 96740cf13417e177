//! Requests made to be read in two ways: each is refused whole, or reaches the machine with one reading.

use super::*;

/// What hides behind the first request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n";

#[tokio::test]
async fn nothing_is_smuggled_past_the_edge() {
    let (program, port) = Program::listen(51, 0, |_| ok("x")).await;
    let edge = TestEdge::start(vec![machine_of("web", 51, "iad", port)]).await;
    let host = "Host: web.mayfly.test\r\n";
    let huge = "y".repeat(70_000);
    let refused = [
        format!(
            "POST / HTTP/1.1\r\n{host}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 44\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0, 44\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: +0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        format!(
            "POST / HTTP/1.1\r\n{host}Foo: bar\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("POST / HTTP/1.1\r\n{host}Foo: bar\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Foo: bar\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Host: other.mayfly.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X: {huge}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(200)),
        "GET http://a@web.mayfly.test/ HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
    ];
    for text in &refused {
        let said = edge.say(&format!("{text}{SMUGGLED}")).await;
        let status: u16 = said[9..12].parse().unwrap();
        assert!((400..=501).contains(&status), "{text:.200}\n{said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{text:.200}\n{said}");
        assert_eq!(field(&said, "connection"), Some("close"), "{said}");
        assert_eq!(program.heard().len(), 0, "{text:.200}");
    }
    // A coding that breaks after the head was good: the machine may see its beginning, nobody what follows.
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0\r\nX: a\nGET /smuggled\r\n\r\n",
        "0\r\n folded\r\n\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{body}");
        edge.say(&format!("{text}{SMUGGLED}")).await;
        let heard = program.heard();
        assert!(
            heard.iter().all(|heard| !heard.contains("smuggled")),
            "{body:?}\n{heard:?}"
        );
    }
    program.heard.lock().unwrap().clear();
    // Disguised names are for CGI-like programs to fall for: they do not get them.
    let said = edge
        .say(&format!("POST / HTTP/1.1\r\n{host}Content_Length: 44\r\nTransfer_Encoding: chunked\r\nConnection: Content-Length, close\r\nContent-Length: 2\r\n\r\nhi"))
        .await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let heard = program.heard().pop().unwrap();
    assert!(
        heard.ends_with("\r\n\r\nhi") && !heard.contains('_'),
        "{heard}"
    );
    assert_eq!(field(&heard, "content-length"), Some("2"));
    edge.end().await;
}
