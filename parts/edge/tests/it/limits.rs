//! Limits of what one client may ask.

use mayfly_edge::{Limit, Limits};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

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
