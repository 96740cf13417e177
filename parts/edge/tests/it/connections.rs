//! How many connections machines see, whatever their clients speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mayfly_edge::{Limit, Limits};
use mayfly_machine::{Concurrency, ConcurrencyKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::http2::{Client, get as get_h2, read};
use super::*;

/// How many connections a machine has open.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Answers on kept connections, each request after a moment, and counts the connections.
async fn serve_counted(listener: tokio::net::TcpListener, open: Arc<Open>) {
    let mut serving = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let open = Arc::clone(&open);
        let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
        open.most.fetch_max(now, Ordering::SeqCst);
        serving.spawn(async move {
            let mut piece = [0; 4096];
            while matches!(stream.read(&mut piece).await, Ok(1..)) {
                sleep(Duration::from_millis(30)).await;
                if stream.write_all(ok("x").as_bytes()).await.is_err() {
                    break;
                }
            }
            open.now.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn until(what: &str, fact: impl Fn() -> bool) {
    let waiting = async {
        while !fact() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

#[tokio::test]
async fn the_hard_limit_of_connections_holds_for_clients_of_both_versions() {
    let (listener, port) = machine().await;
    let open = Arc::new(Open::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_counted(listener, Arc::clone(&open)));
    let mut web = entry("web", port);
    web.services[0].concurrency = Concurrency {
        kind: ConcurrencyKind::Connections,
        soft: 1,
        hard: Some(2),
    };
    let edge = TestEdge::start_as(vec![web], |config| {
        config.http.queue_patience = Duration::from_secs(5);
    })
    .await;
    let mut client = Client::connect(&edge).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(client.send(get_h2("/"), true).await.0);
    }
    for answer in join_all(answers.into_iter().map(read)).await {
        assert_eq!(answer.0.status(), 200);
    }
    assert_eq!(open.most.load(Ordering::SeqCst), 2);
    // It asks nothing now: one stays, as for a client of HTTP/1, and is what it uses next.
    until("the other is closed", || {
        open.now.load(Ordering::SeqCst) == 1
    })
    .await;
    let before = edge.metrics.read().connects;
    let (again, _) = client.send(get_h2("/"), true).await;
    assert_eq!(read(again).await.0.status(), 200);
    assert_eq!(edge.metrics.read().connects, before);
    // A client of HTTP/1 gets the other place and keeps it; for a third there is none until one leaves.
    let keeping = b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\nAccept: */*\r\n\r\n";
    let mut second = TcpStream::connect(edge.address).await.unwrap();
    second.write_all(keeping).await.unwrap();
    assert!(read_until(&mut second, "\r\n\r\nx").await.contains(" 200 "));
    let said = edge.say(&get("web", "/", "")).await;
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    drop(client);
    let said = edge.say(&get("web", "/", "")).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(open.most.load(Ordering::SeqCst), 2);
    edge.end().await;
}

#[tokio::test]
async fn a_client_s_connections_are_counted_in_http_2_too() {
    let (_program, port) = Program::listen(43, 0, |_| ok("x")).await;
    let edge = TestEdge::start_as(vec![machine_of("web", 43, "iad", port)], |config| {
        config.http.limits = Limits {
            default: Limit {
                requests_per_second: None,
                connections: Some(1),
            },
            ..Limits::default()
        };
    })
    .await;
    let mut first = Client::connect(&edge).await;
    for _ in 0..3 {
        let (answer, _) = first.send(get_h2("/"), true).await;
        assert_eq!(read(answer).await.0.status(), 200);
    }
    let mut second = Client::connect(&edge).await;
    let (answer, _) = second.send(get_h2("/"), true).await;
    let (head, body, _) = read(answer).await;
    assert_eq!(head.status(), 429);
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("too_many_connections"), "{body}");
    drop(first);
    let served = async {
        loop {
            let (answer, _) = second.send(get_h2("/"), true).await;
            if read(answer).await.0.status() == 200 {
                break;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("there is room");
    edge.end().await;
}

#[tokio::test]
async fn a_short_queue_of_connections_loses_no_request() {
    const CLIENTS: usize = 200;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.7.44:0".parse().unwrap()).unwrap();
    let listener = socket.listen(9).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    // One after the other, as simple servers do.
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut piece = [0; 4096];
            if matches!(stream.read(&mut piece).await, Ok(1..)) {
                sleep(Duration::from_millis(20)).await;
                let answer = answer(200, "Connection: close\r\n", "x");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    let edge = TestEdge::start(vec![machine_of("web", 44, "iad", port)]).await;
    let request = get("web", "/", "Accept: */*\r\n");
    // More than a kernel would wait before it asks for the third time.
    let asked = (0..CLIENTS).map(|_| async {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        let read = timeout(3 * PATIENCE, stream.read_to_string(&mut said)).await;
        read.expect("an answer comes").unwrap();
        said
    });
    for said in join_all(asked).await {
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    edge.end().await;
}
