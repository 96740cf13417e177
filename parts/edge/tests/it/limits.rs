//! Limits of what one client may ask.

use std::time::Duration;

use mayfly_edge::{Limit, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn a_client_that_asks_too_much_is_told_when_to_come_back() {
    let (program, port) = Program::listen(41, 0, |_| ok("x")).await;
    let edge = TestEdge::start_as(
        vec![
            machine_of("web", 41, "iad", port),
            machine_of("other", 41, "iad", port),
        ],
        |config| {
            let limit = Limit {
                requests_per_second: Some(3),
                connections: Some(2),
            };
            config.http.limits = Limits {
                apps: [("web".to_owned(), limit)].into(),
                ..Limits::default()
            };
        },
    )
    .await;
    let burst = "GET / HTTP/1.1\r\nHost: web.mayfly.test\r\nAccept: */*\r\n\r\n".repeat(60);
    let said = edge.say(&format!("{burst}{}", get("other", "/", ""))).await;
    let refused = said.matches("HTTP/1.1 429 ").count();
    assert!(refused > 0 && refused < 60, "{refused}");
    assert!(
        said.contains("Retry-After: 1\r\n") && said.contains("too_many_requests"),
        "{said}"
    );
    assert!(said.contains("HTTP/1.1 200 "), "the other app has no limit");
    assert_eq!(program.heard().len(), 61 - refused);
    // The bucket fills again; then the connections are what counts.
    let mut open = Vec::new();
    while open.len() < 2 {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
            .await
            .unwrap();
        if read_until(&mut client, "\r\n\r\n").await.contains(" 200 ") {
            open.push(client);
        }
    }
    loop {
        let said = edge.say(&get("web", "/", "Accept: */*\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 429 "), "{said}");
        if said.contains("too_many_connections") {
            break;
        }
    }
    drop(open);
    while !edge
        .say(&get("web", "/", ""))
        .await
        .starts_with("HTTP/1.1 200 ")
    {}
    edge.end().await;
}

#[tokio::test]
async fn the_operator_sets_how_long_heads_are_and_how_many_connections_there_may_be() {
    let (program, port) = Program::listen(42, 0, |_| ok("x")).await;
    let edge = TestEdge::start_as(vec![machine_of("web", 42, "iad", port)], |config| {
        config.http.header_bytes = 2_000;
        config.http.connections = Some(2);
        config.http.head_patience = Duration::from_secs(1);
        config.http.idle_patience = Duration::from_secs(2);
    })
    .await;
    let with_field = |length: usize| {
        let value = "y".repeat(length);
        get("web", "/", &format!("X-Long: {value}\r\n"))
    };
    let said = edge.say(&with_field(1_500)).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    // Whole, and while it is still coming.
    for cut in [0, 10] {
        let text = with_field(2_500);
        let said = edge.say(&text[..text.len() - cut]).await;
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    }
    assert_eq!(program.heard().len(), 1);
    // Two may stay; a third is closed unheard until one of them leaves.
    let (first, mut second) = (admitted(&edge).await, admitted(&edge).await);
    let mut third = TcpStream::connect(edge.address).await.unwrap();
    let mut byte = [0];
    let heard = timeout(PATIENCE, third.read(&mut byte)).await.unwrap();
    assert!(matches!(heard, Ok(0) | Err(_)), "{heard:?}");
    drop(first);
    drop(admitted(&edge).await);
    // A head that does not come to its end, and a connection that does nothing.
    let slow = async {
        loop {
            let mut client = TcpStream::connect(edge.address).await.unwrap();
            let mut heard = Vec::new();
            let _ = client.write_all(b"GET / HTTP/1.1\r\n").await;
            let _ = client.read_to_end(&mut heard).await;
            if !heard.is_empty() {
                break String::from_utf8_lossy(&heard).into_owned();
            }
        }
    };
    let said = timeout(PATIENCE, slow).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(read_to_end(&mut second).await.ends_with('x'));
    edge.end().await;
}

/// A connection whose first request was answered; others may have to end before there is room for it.
async fn admitted(edge: &TestEdge) -> TcpStream {
    let request = b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n";
    let open = async {
        loop {
            let mut client = TcpStream::connect(edge.address).await.unwrap();
            let mut begin = [0; 12];
            // One that is closed unheard may not even be written to.
            let _ = client.write_all(request).await;
            if client.read_exact(&mut begin).await.is_ok() && begin.ends_with(b" 200") {
                break client;
            }
        }
    };
    timeout(PATIENCE, open).await.expect("there is room")
}
