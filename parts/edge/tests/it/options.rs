//! What a port's options change.

use std::time::Duration;

use mayfly_machine::HttpOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn plain_requests_are_sent_to_https() {
    let mut web = entry("web", 1);
    web.services[0].ports[0].force_https = true;
    let edge = TestEdge::start(vec![web]).await;
    let said = edge.say(&get("web", "/a?b=c", "")).await;
    let wanted = format!("https://web.mayfly.test:{}/a?b=c", edge.https.port());
    assert!(said.starts_with("HTTP/1.1 301 "), "{said}");
    assert_eq!(field(&said, "location"), Some(&*wanted));
    edge.end().await;
}

#[tokio::test]
async fn response_fields_are_set_removed_or_left_alone() {
    let (_program, port) = Program::listen(4, 0, |_| {
        answer(200, "X-Powered-By: app\r\nServer: mine\r\n", "x")
    })
    .await;
    let mut web = machine_of("web", 4, "iad", port);
    web.services[0].ports[0].http = HttpOptions {
        response_headers: [
            ("X-Powered-By".to_owned(), None),
            (
                "Strict-Transport-Security".to_owned(),
                Some(vec!["max-age=1".to_owned()]),
            ),
        ]
        .into(),
        ..HttpOptions::default()
    };
    let mut bare = machine_of("bare", 4, "iad", port);
    bare.services[0].ports[0].http.pristine = true;
    let edge = TestEdge::start(vec![web, bare]).await;
    let said = edge.say(&get("web", "/", "")).await;
    assert_eq!(field(&said, "strict-transport-security"), Some("max-age=1"));
    assert_eq!(field(&said, "x-powered-by"), None, "{said}");
    let said = edge.say(&get("bare", "/", "")).await;
    assert_eq!(field(&said, "server"), Some("mine"));
    for name in ["via", "fly-request-id"] {
        assert_eq!(field(&said, name), None, "{said}");
    }
    edge.end().await;
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let text = "compressible ".repeat(500);
    let (_program, port) = Program::listen(5, 0, move |_| {
        answer(200, "Content-Type: text/plain\r\nETag: \"a\"\r\n", &text)
    })
    .await;
    let mut web = machine_of("web", 5, "iad", port);
    web.services[0].ports[0].http.compress = true;
    let edge = TestEdge::start(vec![web]).await;
    let said = edge
        .say(&get("web", "/", "Accept-Encoding: gzip\r\n"))
        .await;
    assert_eq!(field(&said, "content-encoding"), Some("gzip"), "{said}");
    assert_eq!(field(&said, "transfer-encoding"), Some("chunked"));
    assert_eq!(field(&said, "etag"), Some("W/\"a\""));
    assert_eq!(field(&said, "content-length"), None);
    assert!(said.len() < 2000, "{}", said.len());
    let said = edge.say(&get("web", "/", "")).await;
    assert_eq!(field(&said, "content-encoding"), None);
    assert_eq!(field(&said, "vary"), Some("Accept-Encoding"));
    assert_eq!(field(&said, "content-length"), Some("6500"));
    let said = edge
        .say(&get("web", "/", "Accept-Encoding: gzip\r\n").replace("GET", "HEAD"))
        .await;
    assert!(said.ends_with("\r\n\r\n"), "{said}");
    edge.end().await;
}

#[tokio::test]
async fn idle_connections_end_and_lively_ones_do_not() {
    let (listener, port) = machine().await;
    let mut web = entry("web", port);
    web.services[0].ports[0].http.idle_timeout = Some(Duration::from_secs(2));
    let edge = TestEdge::start(vec![web]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: web.mayfly.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    // One direction that moves keeps both alive, beyond the timeout.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.write_all(b"ping").await.unwrap();
        read_until(&mut client, "ping").await;
    }
    assert_eq!(read_to_end(&mut client).await, "");
    read_to_end(&mut server).await;
    // A machine that never answers is not waited for.
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(get("web", "/", "Accept: */*\r\n").as_bytes())
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    let said = read_to_end(&mut client).await;
    assert!(
        said.starts_with("HTTP/1.1 504 ") && said.contains("PC05"),
        "{said}"
    );
    edge.end().await;
}

#[tokio::test]
async fn heads_that_trickle_in_are_given_up() {
    let (_program, port) = Program::listen(6, 0, |_| ok("x")).await;
    let mut web = machine_of("web", 6, "iad", port);
    web.services[0].ports[0].http.headers_read_timeout = Some(Duration::from_secs(1));
    let edge = TestEdge::start(vec![web]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut client, "\r\n\r\nx").await;
    client.write_all(b"GET / HT").await.unwrap();
    let said = read_to_end(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    edge.end().await;
}
