//! Machines that speak HTTP/2 without TLS (`h2_backend`), for clients of both versions.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, Response};
use mayfly_host_api::CatalogEntry;
use mayfly_machine::{Handler, HttpOptions, PortSpec, ProxyProtoVersion, TlsOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http2::{Client, get, read, request};
use super::{PATIENCE, TestEdge, accept, entry, machine, read_to_end, read_until};

/// A machine on `port` that wants HTTP/2.
pub(crate) fn h2_entry(port: u16) -> CatalogEntry {
    let mut entry = entry("web", port);
    entry.services[0].ports = vec![PortSpec {
        first: 80,
        last: 80,
        handlers: vec![Handler::Http],
        force_https: false,
        tls: TlsOptions::default(),
        http: HttpOptions {
            h2_backend: true,
            ..HttpOptions::default()
        },
        proxy_proto: ProxyProtoVersion::V1,
    }];
    entry
}

type Machine = server::Connection<TcpStream, Bytes>;

async fn greet(stream: TcpStream) -> Machine {
    timeout(PATIENCE, server::handshake(stream))
        .await
        .expect("the edge speaks HTTP/2")
        .unwrap()
}

async fn next(machine: &mut Machine) -> (Request<RecvStream>, SendResponse<Bytes>) {
    timeout(PATIENCE, machine.accept())
        .await
        .expect("a request comes")
        .unwrap()
        .unwrap()
}

/// Moves the connection's frames while `what` goes on; it must not bring requests.
async fn during<T>(machine: &mut Machine, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    let both = async {
        tokio::select! {
            done = &mut what => return done,
            more = machine.accept() => assert!(more.is_none_or(|more| more.is_err()), "an unexpected request"),
        }
        // The connection has ended, as it shall after a goodbye.
        what.await
    };
    timeout(PATIENCE, both)
        .await
        .expect("what shall happen happens")
}

fn sum() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers
}

#[tokio::test]
async fn both_directions_stream_with_trailers() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let mut client = Client::connect(&edge).await;
    let mut call = request(Method::POST, "/pkg.Service/Talk");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    call.headers_mut()
        .insert("grpc-timeout", "5S".parse().unwrap());
    let (answer, mut outward) = client.send(call, false).await;
    outward
        .send_data(Bytes::from_static(b"one"), false)
        .unwrap();
    let mut machine = greet(accept(&listener).await).await;
    let (asked, mut respond) = next(&mut machine).await;
    assert_eq!(asked.uri().path(), "/pkg.Service/Talk");
    assert_eq!(asked.uri().authority().unwrap().as_str(), "web.mayfly.test");
    for (name, value) in [
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
        ("fly-client-ip", "127.0.0.1"),
    ] {
        assert_eq!(asked.headers()[name], value, "{name}");
    }
    let mut inward = asked.into_body();
    assert_eq!(
        during(&mut machine, inward.data()).await.unwrap().unwrap(),
        "one"
    );
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut reply = respond.send_response(head, false).unwrap();
    reply
        .send_data(Bytes::from_static(b"re: one"), false)
        .unwrap();
    let answer = during(&mut machine, answer).await.unwrap();
    let mut received = answer.into_body();
    assert_eq!(
        during(&mut machine, received.data())
            .await
            .unwrap()
            .unwrap(),
        "re: one"
    );
    outward
        .send_data(Bytes::from_static(b"two"), false)
        .unwrap();
    outward.send_trailers(sum()).unwrap();
    assert_eq!(
        during(&mut machine, inward.data()).await.unwrap().unwrap(),
        "two"
    );
    assert!(during(&mut machine, inward.data()).await.is_none());
    assert_eq!(
        during(&mut machine, inward.trailers())
            .await
            .unwrap()
            .unwrap(),
        sum()
    );
    reply.send_trailers(sum()).unwrap();
    assert!(during(&mut machine, received.data()).await.is_none());
    assert_eq!(
        during(&mut machine, received.trailers())
            .await
            .unwrap()
            .unwrap(),
        sum()
    );
    edge.end().await;
}

#[tokio::test]
async fn old_clients_are_served_too() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client
        .write_all(b"POST /x HTTP/1.1\r\nHost: web.mayfly.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        .await
        .unwrap();
    let mut machine = greet(accept(&listener).await).await;
    let (asked, mut respond) = next(&mut machine).await;
    assert!(!asked.headers().contains_key("transfer-encoding"));
    let mut body = asked.into_body();
    assert_eq!(
        during(&mut machine, body.data()).await.unwrap().unwrap(),
        "abc"
    );
    assert_eq!(
        during(&mut machine, body.trailers())
            .await
            .unwrap()
            .unwrap()["x-sum"],
        "1"
    );
    let mut reply = respond.send_response(Response::new(()), false).unwrap();
    reply.send_data(Bytes::from_static(b"hi"), false).unwrap();
    reply.send_trailers(sum()).unwrap();
    let answer = during(
        &mut machine,
        read_until(&mut client, "0\r\ngrpc-status: 0\r\n\r\n"),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\n\r\n2\r\nhi\r\n"),
        "{answer}"
    );
    // The next request of the client takes the same connection.
    client
        .write_all(b"GET /y HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    let (asked, mut respond) = next(&mut machine).await;
    assert_eq!(asked.uri().path(), "/y");
    let sized = Response::builder()
        .header("content-length", 5)
        .body(())
        .unwrap();
    respond
        .send_response(sized, false)
        .unwrap()
        .send_data(Bytes::from_static(b"sized"), true)
        .unwrap();
    let answer = during(&mut machine, read_until(&mut client, "\r\n\r\nsized")).await;
    assert!(answer.contains("content-length: 5\r\n"), "{answer}");
    edge.end().await;
}

#[tokio::test]
async fn requests_share_a_connection_and_a_goodbye_costs_none() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let mut client = Client::connect(&edge).await;
    let (first, _) = client.send(get("/1"), true).await;
    let mut machine = greet(accept(&listener).await).await;
    let (_, mut respond) = next(&mut machine).await;
    let (second, _) = client.send(get("/2"), true).await;
    let (_, mut respond_2) = next(&mut machine).await;
    // A goodbye lets both finish; who comes after it gets another connection.
    machine.graceful_shutdown();
    let ok = || {
        Response::builder()
            .header("content-length", 0)
            .body(())
            .unwrap()
    };
    respond.send_response(ok(), true).unwrap();
    assert_eq!(during(&mut machine, read(first)).await.0.status(), 200);
    let post = request(Method::POST, "/3");
    let (third, _) = client.send(post, true).await;
    let again = during(&mut machine, accept(&listener)).await;
    let mut other = greet(again).await;
    let (asked, mut respond_3) = next(&mut other).await;
    assert_eq!(asked.uri().path(), "/3");
    respond_3.send_response(ok(), true).unwrap();
    assert_eq!(during(&mut other, read(third)).await.0.status(), 200);
    respond_2.send_response(ok(), true).unwrap();
    assert_eq!(during(&mut machine, read(second)).await.0.status(), 200);
    // A stream that was refused is sent again, whatever its method.
    let (fourth, _) = client.send(request(Method::POST, "/4"), true).await;
    let (_, mut refused) = next(&mut other).await;
    refused.send_reset(Reason::REFUSED_STREAM);
    let again = during(&mut other, accept(&listener)).await;
    let mut fresh = greet(again).await;
    let (asked, mut respond_4) = next(&mut fresh).await;
    assert_eq!(asked.uri().path(), "/4");
    respond_4.send_response(ok(), true).unwrap();
    assert_eq!(during(&mut fresh, read(fourth)).await.0.status(), 200);
    edge.end().await;
}

#[tokio::test]
async fn giving_up_reaches_the_machine_and_its_resets_the_client() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let mut client = Client::connect(&edge).await;
    let (answer, mut stream) = client.send(get("/slow"), true).await;
    let mut machine = greet(accept(&listener).await).await;
    let (_, mut respond) = next(&mut machine).await;
    stream.send_reset(Reason::CANCEL);
    drop(answer);
    let reason = during(&mut machine, poll_fn(|cx| respond.poll_reset(cx)))
        .await
        .unwrap();
    assert_eq!(reason, Reason::CANCEL);
    let (answer, _) = client.send(get("/torn"), true).await;
    let (_, mut respond) = next(&mut machine).await;
    let mut reply = respond.send_response(Response::new(()), false).unwrap();
    reply.send_data(Bytes::from_static(b"half"), false).unwrap();
    let (_, mut body) = during(&mut machine, answer).await.unwrap().into_parts();
    assert_eq!(
        during(&mut machine, body.data()).await.unwrap().unwrap(),
        "half"
    );
    reply.send_reset(Reason::INTERNAL_ERROR);
    let error = during(&mut machine, body.data())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    edge.end().await;
}

#[tokio::test]
async fn a_machine_that_speaks_http_1_only_is_an_error_and_no_wait() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let mut client = Client::connect(&edge).await;
    let (answer, _) = client.send(get("/"), true).await;
    let mut server = accept(&listener).await;
    read_until(&mut server, "PRI * HTTP/2.0\r\n").await;
    server
        .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    drop(server);
    // The edge may try once more before it gives up.
    let (head, ..) = tokio::select! {
        answer = read(answer) => answer,
        () = async {
            loop {
                drop(accept(&listener).await);
            }
        } => unreachable!(),
    };
    assert_eq!(head.status(), 502);
    edge.end().await;
}

/// What the edge says to a machine that speaks HTTP/2 when a client opens a WebSocket.
async fn handshake_of(machine: &mut Machine) -> (Request<RecvStream>, SendResponse<Bytes>) {
    let (asked, respond) = next(machine).await;
    assert_eq!(asked.method(), Method::CONNECT);
    let protocol = asked.extensions().get::<h2::ext::Protocol>().unwrap();
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(asked.uri().path(), "/chat");
    let headers = asked.headers();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert_eq!(headers["fly-client-ip"], "127.0.0.1");
    for gone in ["sec-websocket-key", "connection", "upgrade"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    (asked, respond)
}

const HANDSHAKE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: web.mayfly.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

#[tokio::test]
async fn websockets_go_over_http_2_to_machines_that_take_them_there() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start_as(vec![h2_entry(port)], |config| {
        // Each core has a connection of its own.
        config.cores = 1;
        config.drain = Duration::from_secs(1);
    })
    .await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    let stream = accept(&listener).await;
    let mut builder = server::Builder::new();
    let greeting = builder
        .enable_connect_protocol()
        .handshake::<_, Bytes>(stream);
    let mut machine = timeout(PATIENCE, greeting).await.unwrap().unwrap();
    let (asked, mut respond) = handshake_of(&mut machine).await;
    let agreed = Response::builder().header("sec-websocket-protocol", "chat");
    let mut inward = respond
        .send_response(agreed.body(()).unwrap(), false)
        .unwrap();
    let head = during(&mut machine, read_until(&mut client, "\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-protocol: chat",
    ] {
        let is_line = |other: &str| other.eq_ignore_ascii_case(line);
        assert!(head.lines().any(is_line), "{line}\n{head}");
    }
    client.write_all(b"ping").await.unwrap();
    let mut outward = asked.into_body();
    let heard = during(&mut machine, outward.data()).await.unwrap().unwrap();
    assert_eq!(heard, "ping");
    inward
        .send_data(Bytes::from_static(b"pong"), false)
        .unwrap();
    during(&mut machine, read_until(&mut client, "pong")).await;
    // Each side's end reaches the other.
    client.shutdown().await.unwrap();
    while let Some(heard) = during(&mut machine, outward.data()).await {
        assert!(heard.unwrap().is_empty());
    }
    inward.send_data(Bytes::new(), true).unwrap();
    during(&mut machine, read_to_end(&mut client)).await;

    // A client of HTTP/2, on the connection that is there.
    let mut client = Client::connect(&edge).await;
    let mut connect = request(Method::CONNECT, "/chat");
    let websocket = h2::ext::Protocol::from_static("websocket");
    connect.extensions_mut().insert(websocket);
    let headers = connect.headers_mut();
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
    let (answer, mut to_edge) = client.send(connect, false).await;
    let (asked, mut respond) = handshake_of(&mut machine).await;
    let mut inward = respond.send_response(Response::new(()), false).unwrap();
    let answer = during(&mut machine, answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    to_edge
        .send_data(Bytes::from_static(b"ping"), false)
        .unwrap();
    let heard = during(&mut machine, asked.into_body().data()).await;
    assert_eq!(heard.unwrap().unwrap(), "ping");
    inward
        .send_data(Bytes::from_static(b"pong"), false)
        .unwrap();
    let heard = during(&mut machine, answer.into_body().data()).await;
    assert_eq!(heard.unwrap().unwrap(), "pong");
    edge.end().await;
}

#[tokio::test]
async fn websockets_go_over_http_1_to_machines_that_do_not_say_so() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start_as(vec![h2_entry(port)], |config| {
        config.drain = Duration::from_secs(1);
    })
    .await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    let mut machine = greet(accept(&listener).await).await;
    let mut server = during(&mut machine, accept(&listener)).await;
    let head = during(&mut machine, read_until(&mut server, "\r\n\r\n")).await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    server
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
        .await
        .unwrap();
    let head = during(&mut machine, read_until(&mut client, "hello")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    edge.end().await;
}
