//! Requests and answers as they pass.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn one_connection_carries_many_requests_in_both_codings() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"POST /1 HTTP/1.1\r\nHost: web.mayfly.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    let first = read_until(&mut server, "0\r\n\r\n").await;
    assert!(
        first.starts_with("POST /1 HTTP/1.1\r\n")
            && first.contains("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "{first}"
    );
    assert!(
        first.contains("Fly-Client-IP: 127.0.0.1\r\n") && !first.contains("GET /2"),
        "{first}"
    );
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    read_until(&mut client, "\r\n\r\nok").await;
    let second = read_until(&mut server, "\r\n\r\n").await;
    assert!(
        second.starts_with("GET /2 "),
        "the machine's connection is used again: {second}"
    );
    server
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        .await
        .unwrap();
    read_until(&mut client, "2\r\nhi\r\n").await;
    server.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut client, "0\r\n\r\n").await;
    drop(client);
    edge.end().await;
}

#[tokio::test]
async fn old_clients_get_plain_bodies_and_a_close() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.0\r\nHost: web.mayfly.test\r\nConnection: keep-alive\r\n\r\n")
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nplain"),
        "{answer}"
    );
    assert!(!answer.contains("Transfer-Encoding"), "{answer}");
    edge.end().await;
}

#[tokio::test]
async fn protocols_switch_to_a_tunnel() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: web.mayfly.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly").await.unwrap();
    let mut server = accept(&listener).await;
    let head = read_until(&mut server, "\r\n\r\n").await;
    assert!(
        head.contains("Upgrade: websocket\r\n") && head.contains("Connection: upgrade\r\n"),
        "{head}"
    );
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello").await.unwrap();
    let answer = read_until(&mut client, "hello").await;
    assert!(answer.contains("Upgrade: websocket\r\n"), "{answer}");
    read_until(&mut server, "early").await;
    client.write_all(b"late").await.unwrap();
    read_until(&mut server, "late").await;
    drop(server);
    read_to_end(&mut client).await;
    drop(client);
    edge.end().await;
}

#[tokio::test]
async fn a_machine_that_closed_a_kept_connection_costs_no_request() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for turn in 0..3 {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
            .await
            .unwrap();
        let mut server = accept(&listener).await;
        read_until(&mut server, "\r\n\r\n").await;
        server
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{turn}").as_bytes())
            .await
            .unwrap();
        read_until(&mut client, &format!("\r\n\r\n{turn}")).await;
    }
    drop(client);
    edge.end().await;
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_once() {
    const SIZE: usize = 3 << 20;
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let client = TcpStream::connect(edge.address).await.unwrap();
    let (mut reader, mut writer) = client.into_split();
    let send = async {
        writer.write_all(format!("PUT / HTTP/1.1\r\nHost: web.mayfly.test\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
        writer.write_all(&vec![b'x'; SIZE]).await.unwrap();
    };
    let echo = async {
        let mut server = accept(&listener).await;
        let head = read_until(&mut server, "\r\n\r\n").await;
        let body = head.split_once("\r\n\r\n").unwrap().1.len();
        server
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        server.write_all(&vec![b'x'; body]).await.unwrap();
        let (mut input, mut output) = server.split();
        tokio::io::copy(&mut (&mut input).take((SIZE - body) as u64), &mut output)
            .await
            .unwrap();
    };
    let receive = async {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        bytes.len()
    };
    let (_, _, received) = timeout(PATIENCE, async { tokio::join!(send, echo, receive) })
        .await
        .unwrap();
    assert!(received > SIZE, "{received}");
    edge.end().await;
}

#[tokio::test]
async fn routes_follow_the_catalog() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![]).await;
    edge.catalog
        .send(Arc::new(vec![Arc::new(entry("late", port))]))
        .unwrap();
    // The change reaches each core by itself; a request is the fact to wait for.
    loop {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: late.mayfly.test\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 1];
        tokio::select! {
            server = accept(&listener) => { drop(server); break }
            _ = client.read(&mut first) => {}
        }
    }
    edge.end().await;
}

#[tokio::test]
async fn what_the_machine_sends_is_seen_at_once() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"POST /events HTTP/1.1\r\nHost: web.mayfly.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    let head = read_until(&mut server, "\r\n\r\n").await;
    assert!(head.contains("Expect: 100-continue"), "{head}");
    server
        .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        .await
        .unwrap();
    let interim = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    read_until(&mut server, "body").await;
    server
        .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut client, "Link: </a.css>\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    for event in ["7\r\ndata: 1\r\n", "7\r\ndata: 2\r\n"] {
        server.write_all(event.as_bytes()).await.unwrap();
        read_until(&mut client, event).await;
    }
    server.write_all(b"0\r\nX-Sum: 3\r\n\r\n").await.unwrap();
    read_until(&mut client, "0\r\nX-Sum: 3\r\n\r\n").await;
    drop(client);
    edge.end().await;
}

#[tokio::test]
async fn an_answer_before_the_bodys_end_is_the_last_on_its_connection() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: web.mayfly.test\r\nContent-Length: 100000\r\n\r\nbegin",
        )
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "begin").await;
    server
        .write_all(answer(413, "", "too long").as_bytes())
        .await
        .unwrap();
    let said = read_to_end(&mut client).await;
    assert!(
        said.starts_with("HTTP/1.1 413") && said.ends_with("too long"),
        "{said}"
    );
    read_to_end(&mut server).await;
    edge.end().await;
}

#[tokio::test]
async fn a_client_may_end_its_side_and_wait() {
    let (program, port) = Program::listen(1, 0, |_| ok("late")).await;
    let edge = TestEdge::start(vec![machine_of("web", 1, "iad", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: web.mayfly.test\r\nContent-Length: 2\r\n\r\nhi")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let said = read_to_end(&mut client).await;
    assert!(said.ends_with("\r\n\r\nlate"), "{said}");
    assert!(program.heard()[0].ends_with("\r\n\r\nhi"));
    edge.end().await;
}

#[tokio::test]
async fn bodies_without_length_are_given_one_the_client_can_see() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.0 200 OK\r\n\r\nold")
        .await
        .unwrap();
    drop(server);
    let said = read_until(&mut client, "0\r\n\r\n").await;
    assert!(said.contains("Transfer-Encoding: chunked\r\n"), "{said}");
    assert!(said.contains("\r\n\r\n3\r\nold\r\n"), "{said}");
    // The connection lives on.
    client
        .write_all(b"HEAD / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        .await
        .unwrap();
    let said = read_until(&mut client, "\r\n\r\n").await;
    assert!(said.contains("Content-Length: 12345\r\n"), "{said}");
    drop(client);
    edge.end().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    for (sent, ending) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "half"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "half\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzzz",
            "half\r\n",
        ),
    ] {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
            .await
            .unwrap();
        let mut server = accept(&listener).await;
        read_until(&mut server, "\r\n\r\n").await;
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        server
            .write_all(format!("{head}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        read_until(&mut client, "\r\n\r\n").await;
        server
            .write_all(body.trim_end_matches("zzz").as_bytes())
            .await
            .unwrap();
        read_until(&mut client, ending).await;
        if body.ends_with("zzz") {
            server.write_all(b"zzz").await.unwrap();
        } else {
            drop(server);
        }
        let rest = read_to_end(&mut client).await;
        assert_eq!(rest, "", "{sent:?}");
    }
    edge.end().await;
}

#[tokio::test]
async fn a_service_that_counts_connections_has_one_for_each_of_a_clients() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let mut server = accept(&listener).await;
    for turn in 0..3 {
        if turn > 0 {
            client.write_all(ask).await.unwrap();
        }
        read_until(&mut server, "\r\n\r\n").await;
        server.write_all(ok("x").as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\nx").await;
    }
    drop(client);
    // It goes with the client's and is nobody else's.
    read_to_end(&mut server).await;
    edge.end().await;
}

#[tokio::test]
async fn a_service_that_counts_requests_shares_connections() {
    let (listener, port) = machine().await;
    let mut web = entry("web", port);
    web.services[0].concurrency.kind = mayfly_machine::ConcurrencyKind::Requests;
    let edge = TestEdge::start_as(vec![web], |config| config.cores = 1).await;
    let mut server = None;
    for turn in 0..3 {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client
            .write_all(get("web", "/", "").as_bytes())
            .await
            .unwrap();
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(accept(&listener).await),
        };
        read_until(server, "\r\n\r\n").await;
        server
            .write_all(ok(&format!("{turn}")).as_bytes())
            .await
            .unwrap();
        let said = read_to_end(&mut client).await;
        assert!(said.ends_with(&format!("\r\n\r\n{turn}")), "{said}");
    }
    assert_eq!(edge.metrics.read().reused, 2);
    edge.end().await;
}
