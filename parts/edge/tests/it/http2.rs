//! HTTP/2 from clients, by prior knowledge, to scripted HTTP/1 machines.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, TestEdge, accept, entry, machine, read_until};

/// A client's connection.
pub(crate) struct Client {
    pub(crate) sender: SendRequest<Bytes>,
    pub(crate) running: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn connect(edge: &TestEdge) -> Client {
        Client::with(edge, &mut client::Builder::new()).await
    }

    async fn with(edge: &TestEdge, builder: &mut client::Builder) -> Client {
        let stream = TcpStream::connect(edge.address).await.unwrap();
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        #[allow(clippy::disallowed_methods)] // ends with the connection
        let running = tokio::spawn(connection);
        Client { sender, running }
    }

    /// Sends a request's head; its body follows unless `ends`.
    pub(crate) async fn send(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender.send_request(request, ends).unwrap()
    }

    async fn get(&mut self, path: &str) -> (Response<()>, Vec<u8>, HeaderMap) {
        let (answer, _) = self.send(get(path), true).await;
        read(answer).await
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    request(Method::GET, path)
}

pub(crate) fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://web.mayfly.test{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// The whole answer: head, body, trailers.
pub(crate) async fn read(answer: ResponseFuture) -> (Response<()>, Vec<u8>, HeaderMap) {
    let answer = timeout(PATIENCE, answer)
        .await
        .expect("an answer comes")
        .unwrap();
    let (head, mut body) = answer.into_parts();
    let bytes = read_body(&mut body).await.unwrap();
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    (Response::from_parts(head, ()), bytes, trailers)
}

async fn read_body(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = timeout(PATIENCE, body.data()).await.expect("data comes") {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(bytes)
}

/// Answers one connection's requests with what `answer` makes of their heads.
async fn serve_heads(mut stream: TcpStream, answer: impl Fn(&str) -> Vec<u8> + Send) {
    let mut read = Vec::new();
    loop {
        while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
            if stream.write_all(&answer(&head)).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}

/// Answers every connection's requests with what `answer` makes of their heads.
pub(crate) fn serve_each(
    listener: TcpListener,
    answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static,
) -> JoinHandle<()> {
    #[allow(clippy::disallowed_methods)] // aborted by the test
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve_heads(stream, answer.clone()));
        }
    })
}

#[tokio::test]
async fn requests_reach_machines_as_http_1_and_answers_come_back() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let mut asked = request(Method::POST, "/a?b=c");
    for (name, value) in [
        ("x-say", "hello"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("fly-client-ip", "9.9.9.9"),
        ("te", "trailers"),
    ] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let (answer, mut body) = client.send(asked, false).await;
    body.send_data(Bytes::from_static(b"hello "), false)
        .unwrap();
    let mut server = accept(&listener).await;
    let head = read_until(&mut server, "hello ").await;
    assert!(
        head.starts_with("POST /a?b=c HTTP/1.1\r\nHost: web.mayfly.test\r\n"),
        "{head}"
    );
    for line in [
        "x-say: hello",
        "cookie: a=1; b=2",
        "Transfer-Encoding: chunked",
        "Fly-Client-IP: 127.0.0.1",
        "Via: 2 mayfly",
    ] {
        assert_eq!(
            head.lines()
                .filter(|other| other.eq_ignore_ascii_case(line))
                .count(),
            1,
            "{line}\n{head}"
        );
    }
    assert!(!head.contains("9.9.9.9"), "{head}");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    body.send_data(Bytes::from_static(b"world"), false).unwrap();
    body.send_trailers(trailers).unwrap();
    let rest = read_until(&mut server, "\r\n0\r\nx-sum: 7\r\n\r\n").await;
    assert!(rest.contains("5\r\nworld\r\n"), "{rest}");
    server
        .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Created\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await
        .unwrap();
    let mut answer = answer;
    let interim = timeout(PATIENCE, poll_fn(|cx| answer.poll_informational(cx)))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            interim.status().as_u16(),
            interim.headers()["link"].as_bytes()
        ),
        (103, &b"</x>"[..])
    );
    server
        .write_all(b"2\r\nde\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 9\r\n\r\n")
        .await
        .unwrap();
    let (head, bytes, trailers) = read(answer).await;
    assert_eq!(
        (head.status(), bytes.as_slice()),
        (StatusCode::CREATED, &b"abcde"[..])
    );
    assert_eq!(head.headers()["x-kept"], "2");
    assert!(head.headers().contains_key("fly-request-id"));
    for absent in ["connection", "x-hop", "transfer-encoding"] {
        assert!(!head.headers().contains_key(absent), "{absent}");
    }
    assert_eq!(
        (trailers.len(), trailers["grpc-status"].as_bytes()),
        (1, &b"0"[..])
    );
    edge.end().await;
}

#[tokio::test]
async fn every_way_to_end_a_body_is_passed_on() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let machine = serve_each(listener, |head| {
        let answer = match head.split(' ').nth(1).unwrap() {
            "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "/chunks" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            }
            other => panic!("{other}"),
        };
        answer.as_bytes().to_vec()
    });
    let mut client = Client::connect(&edge).await;
    for (path, status, body, length) in [
        ("/length", 200, "hello", Some("5")),
        ("/empty", 200, "", Some("0")),
        ("/none", 204, "", None),
        ("/same", 304, "", Some("5")),
        ("/chunks", 200, "hello", None),
    ] {
        let (head, bytes, trailers) = client.get(path).await;
        let given = head
            .headers()
            .get("content-length")
            .map(|length| length.to_str().unwrap());
        assert_eq!((head.status().as_u16(), given), (status, length), "{path}");
        assert_eq!(
            (bytes, trailers.len()),
            (body.as_bytes().to_vec(), 0),
            "{path}"
        );
    }
    let (answer, _) = client.send(request(Method::HEAD, "/head"), true).await;
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert!(
        answer.body().is_end_stream(),
        "a HEAD is answered by one frame"
    );
    assert_eq!(answer.headers()["content-length"], "5");
    machine.abort();
    edge.end().await;

    let (listener, port) = super::machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let (answer, _) = client.send(get("/close"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        .await
        .unwrap();
    drop(server);
    assert_eq!(read(answer).await.1, b"until the end");
    edge.end().await;
}

#[tokio::test]
async fn streams_of_a_connection_do_not_wait_for_each_other() {
    const COUNT: usize = 40;
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let mut waiting = Vec::new();
    for number in 0..COUNT {
        waiting.push(Some(client.send(get(&format!("/{number}")), true).await.0));
    }
    let mut servers = Vec::new();
    for _ in 0..COUNT {
        let mut server = accept(&listener).await;
        let head = read_until(&mut server, "\r\n\r\n").await;
        servers.push((server, head.split(' ').nth(1).unwrap().to_owned()));
    }
    // The last that came is answered first.
    while let Some((mut server, path)) = servers.pop() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        );
        server.write_all(answer.as_bytes()).await.unwrap();
        let number: usize = path[1..].parse().unwrap();
        let answer = waiting[number].take().expect("asked once");
        assert_eq!(read(answer).await.1, path.as_bytes());
    }
    edge.end().await;
}

#[tokio::test]
async fn a_slow_client_stops_its_machine_and_large_bodies_arrive() {
    const BODY: usize = 8 << 20;
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let (answer, _) = client.send(get("/large"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    let body: Vec<u8> = (0..BODY).map(|at| (at / 251) as u8).collect();
    let mut sent = 0;
    server
        .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // The client's window is 64 KiB and it reads nothing: what is sent until the machine is stuck fills buffers only.
    while let Ok(Ok(count)) = timeout(Duration::from_millis(500), server.write(&body[sent..])).await
    {
        sent += count;
    }
    assert!(sent < BODY, "nothing held the machine back");
    let (_, mut stream) = timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
        .into_parts();
    let writing = async {
        server.write_all(&body[sent..]).await.unwrap();
    };
    let (read, ()) = tokio::join!(read_body(&mut stream), writing);
    assert!(read.unwrap() == body, "the body arrives unchanged");

    let mut upload = request(Method::PUT, "/upload");
    upload
        .headers_mut()
        .insert("content-length", BODY.to_string().parse().unwrap());
    let (answer, mut stream) = client.send(upload, false).await;
    let sending = async {
        let mut left = Bytes::from(body.clone());
        while !left.is_empty() {
            stream.reserve_capacity(left.len().min(1 << 16));
            let room = poll_fn(|cx| stream.poll_capacity(cx))
                .await
                .unwrap()
                .unwrap();
            let piece = left.split_to(room.min(left.len()));
            stream.send_data(piece, left.is_empty()).unwrap();
        }
    };
    let receiving = async {
        let head = read_until(&mut server, "\r\n\r\n").await;
        let from = head.find("\r\n\r\n").unwrap() + 4;
        assert!(
            head.contains(&format!("content-length: {BODY}\r\n")),
            "{}",
            &head[..from]
        );
        let mut count = 0;
        let mut piece = vec![0; 1 << 16];
        // `read_until` may have read into the body, as text.
        let early = head.len() - from;
        assert!(early < BODY);
        while count + early < BODY {
            match timeout(Duration::from_secs(2), server.read(&mut piece)).await {
                Ok(Ok(read)) if read > 0 => count += read,
                _ => break,
            }
        }
        server
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
    };
    tokio::join!(sending, receiving);
    assert_eq!(read_answer_status(answer).await, 200);
    edge.end().await;
}

async fn read_answer_status(answer: ResponseFuture) -> u16 {
    read(answer).await.0.status().as_u16()
}

#[tokio::test]
async fn a_request_given_up_ends_at_its_machine_and_a_broken_answer_at_its_client() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    for answered in [false, true] {
        let (answer, mut stream) = client.send(get("/slow"), true).await;
        let mut server = accept(&listener).await;
        read_until(&mut server, "\r\n\r\n").await;
        if answered {
            server
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                .await
                .unwrap();
            let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
            stream.send_reset(Reason::CANCEL);
            drop(answer);
        } else {
            stream.send_reset(Reason::CANCEL);
        }
        let mut rest = Vec::new();
        timeout(PATIENCE, server.read_to_end(&mut rest))
            .await
            .expect("the machine is told")
            .unwrap();
    }
    let (answer, _) = client.send(get("/torn"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        .await
        .unwrap();
    let (_, mut body) = timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
        .into_parts();
    assert_eq!(
        timeout(PATIENCE, body.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap(),
        "abc"
    );
    drop(server);
    let error = read_body(&mut body).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    let (answer, _) = client.send(get("/next"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(read(answer).await.1, b"ok", "other streams go on");
    edge.end().await;
}

#[tokio::test]
async fn errors_of_the_edge_come_over_http_2_too() {
    let edge = TestEdge::start(vec![]).await;
    let mut client = Client::connect(&edge).await;
    let (head, body, _) = client.get("/").await;
    assert_eq!(head.status(), 404);
    assert!(String::from_utf8(body).unwrap().contains("app_not_found"));
    let mut two_hosts = get("/");
    two_hosts
        .headers_mut()
        .insert("host", "other.mayfly.test".parse().unwrap());
    let (answer, _) = client.send(two_hosts, true).await;
    let (head, body, _) = read(answer).await;
    assert_eq!(head.status(), 400);
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains(":authority and Host differ")
    );
    edge.end().await;
}

#[tokio::test]
async fn a_stop_lets_open_requests_finish() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let (answer, _) = client.send(get("/last"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "\r\n\r\n").await;
    edge.stop.cancel();
    // The goodbye arrives: no more requests can be sent.
    let refused = async {
        while poll_fn(|cx| client.sender.poll_ready(cx)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused)
        .await
        .expect("the edge says goodbye");
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await
        .unwrap();
    assert_eq!(read(answer).await.1, b"done");
    drop(client.sender);
    timeout(PATIENCE, client.running)
        .await
        .expect("the connection ends")
        .unwrap()
        .unwrap();
    edge.end().await;
}

#[tokio::test]
async fn websockets_pass_over_http_2() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut client = Client::connect(&edge).await;
    let allowed = async {
        while !client.sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, allowed)
        .await
        .expect("the edge offers extended CONNECT");
    let mut connect = request(Method::CONNECT, "/chat");
    connect
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    connect
        .headers_mut()
        .insert("sec-websocket-version", "13".parse().unwrap());
    connect
        .headers_mut()
        .insert("sec-websocket-protocol", "chat".parse().unwrap());
    let (answer, mut outward) = client.send(connect, false).await;
    let mut server = accept(&listener).await;
    let head = read_until(&mut server, "\r\n\r\n").await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
    ] {
        assert!(
            head.lines().any(|other| other.eq_ignore_ascii_case(line)),
            "{line}\n{head}"
        );
    }
    assert!(
        head.contains("sec-websocket-key: ") && !head.contains("content-length"),
        "{head}"
    );
    server
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly")
        .await
        .unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut inward = answer.into_body();
    assert_eq!(
        timeout(PATIENCE, inward.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap(),
        "early"
    );
    outward
        .send_data(Bytes::from_static(b"ping"), false)
        .unwrap();
    read_until(&mut server, "ping").await;
    server.write_all(b"pong").await.unwrap();
    assert_eq!(
        timeout(PATIENCE, inward.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap(),
        "pong"
    );
    outward.send_data(Bytes::new(), true).unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut rest))
        .await
        .expect("the client's end reaches the machine")
        .unwrap();
    drop(server);
    assert_eq!(
        read_body(&mut inward).await.unwrap(),
        b"",
        "and the machine's the client"
    );
    edge.end().await;
}
