//! The edge through its listener, with scripted machines behind it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod h2_backend;
mod http2;
mod peers;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge::{EdgeConfig, EdgeDeps, FleetConfig, FleetSources, WakeError, Waker};
use mayfly_edge_api::Directory;
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::{ConcurrencyKind, MachineState, Protocol, ServiceSpec};
use mayfly_runtime::{SeededEntropy, Stop, SystemClock};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

mod tls;

const PATIENCE: Duration = Duration::from_secs(20);

/// No machine of these tests is woken or put to rest.
struct NoWaker;

#[async_trait::async_trait]
impl Waker for NoWaker {
    async fn start(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        panic!("start of {machine}")
    }

    async fn stop(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        panic!("stop of {machine}")
    }

    async fn suspend(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        panic!("suspend of {machine}")
    }
}

struct TestEdge {
    address: SocketAddr,
    https: SocketAddr,
    catalog: watch::Sender<Catalog>,
    directory: watch::Sender<Arc<Directory>>,
    stop: Stop,
    running: tokio::task::JoinHandle<()>,
}

impl TestEdge {
    async fn start(entries: Vec<CatalogEntry>) -> TestEdge {
        TestEdge::start_as(entries, |_| {}).await
    }

    /// Like [`TestEdge::start`], with settings of its own.
    async fn start_as(
        entries: Vec<CatalogEntry>,
        change: impl FnOnce(&mut EdgeConfig),
    ) -> TestEdge {
        let (catalog, receiver) = watch::channel(Arc::new(
            entries.into_iter().map(Arc::new).collect::<Vec<_>>(),
        ));
        let (directory, names) = watch::channel(Arc::new(Directory::default()));
        let mut config = EdgeConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            https_listen: "127.0.0.1:0".parse().unwrap(),
            domain: "mayfly.test".to_owned(),
            region: "iad".parse().unwrap(),
            cores: 2,
            accept_proxy_protocol: Vec::new(),
            drain: Duration::from_secs(10),
        };
        change(&mut config);
        let (fleet, keeper) = FleetConfig {
            domain: config.domain.clone(),
            region: config.region.clone(),
            autostop_period: Duration::from_secs(180),
        }
        .build(
            FleetSources {
                catalogs: vec![receiver],
                directory: names.clone(),
            },
            Arc::new(NoWaker),
            &SeededEntropy::new(2),
        );
        let edge = config
            .build(EdgeDeps {
                fleet,
                directory: names,
                clock: Arc::new(SystemClock),
                entropy: Arc::new(SeededEntropy::new(1)),
                inherited: Vec::new(),
            })
            .unwrap();
        let (address, https, stop) = (edge.address(), edge.https_address(), Stop::new());
        let token = stop.clone();
        #[allow(clippy::disallowed_methods)] // joined in `end`
        let running = tokio::spawn(async move {
            let (ran, ()) = tokio::join!(edge.run(token.clone()), keeper.run(token));
            ran.unwrap();
        });
        TestEdge {
            address,
            https,
            catalog,
            directory,
            stop,
            running,
        }
    }

    /// Sends bytes and reads until the edge closes or the answer to `count` requests has come.
    async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the edge ends the connection")
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let mut piece = [0; 4096];
        let count = timeout(PATIENCE, stream.read(&mut piece))
            .await
            .expect("bytes arrive")
            .unwrap();
        assert!(
            count > 0,
            "connection ended before {end:?}: {}",
            String::from_utf8_lossy(&bytes)
        );
        bytes.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn service(port: u16) -> ServiceSpec {
    let mut service = ServiceSpec::new(Protocol::Tcp, port);
    // Counted by requests, so that connections to machines are kept.
    service.concurrency.kind = ConcurrencyKind::Requests;
    service
}

fn entry(app: &str, port: u16) -> CatalogEntry {
    CatalogEntry {
        machine_id: MachineId::from_random([7; 14]),
        instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
        app_name: app.parse().unwrap(),
        region: "iad".parse().unwrap(),
        // Nothing listens there, so that the other address is used.
        ipv4: Ipv4Addr::new(127, 0, 0, 251),
        private_ip: Ipv6Addr::LOCALHOST,
        state: MachineState::Started,
        cordoned: false,
        services: vec![service(port)],
        app_id: AppId::from_random([1; 16]),
        org_id: OrgId::from_random([1; 16]),
        network: NetworkId(1),
        host_id: HostId::from_random([1; 8]),
        statics: Vec::new(),
        metadata: Default::default(),
        in_dns: true,
        primary_region: None,
        checks: Vec::new(),
    }
}

async fn machine() -> (TcpListener, u16) {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept())
        .await
        .expect("the edge connects")
        .unwrap()
        .0
}

#[tokio::test]
async fn errors_name_their_cause_and_request() {
    let (closed, port) = machine().await;
    drop(closed);
    let mut stopped = entry("asleep", 1);
    stopped.state = MachineState::Stopped;
    stopped.services[0].autostart = false;
    let edge = TestEdge::start(vec![stopped, entry("deaf", port)]).await;
    for (host, status, code) in [
        ("nobody.mayfly.test", "404", "app_not_found"),
        ("asleep.mayfly.test", "503", "PR01"),
        ("deaf.mayfly.test", "502", "PC01"),
    ] {
        let answer = edge
            .say(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code),
            "{answer}"
        );
        assert!(
            answer.contains("\"request_id\":\"") && answer.contains("-iad\""),
            "{answer}"
        );
        let page = edge
            .say(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            page.contains("text/html") && page.contains("<h1>"),
            "{page}"
        );
    }
    let answer = edge.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    edge.end().await;
}

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
