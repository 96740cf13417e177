//! Connections that are no HTTP to the edge, and doors of single apps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::{AssignedAddress, DirectoryApp, Reach};
use mayfly_host_api::CatalogEntry;
use mayfly_machine::{Handler, PortSpec, Protocol, ProxyProtoVersion, TlsOptions, TlsVersion};
use mayfly_types::{AppId, NetworkId, OrgId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::tls::{certificate, s_client};
use super::{PATIENCE, TestEdge, accept, entry, machine, read_to_end, read_until};

/// An address nobody else uses, and a port that is free there.
fn own_address() -> SocketAddr {
    static NEXT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let ip = Ipv4Addr::new(127, 100 + (high & 63), low, last);
    std::net::TcpListener::bind((ip, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

fn port(number: u16, handlers: &[Handler]) -> PortSpec {
    PortSpec {
        first: number,
        last: number,
        handlers: handlers.to_vec(),
        force_https: false,
        tls: TlsOptions::default(),
        http: Default::default(),
        proxy_proto: ProxyProtoVersion::V1,
    }
}

fn served(internal: u16, ports: Vec<PortSpec>) -> CatalogEntry {
    let mut entry = entry("web", internal);
    entry.services[0].ports = ports;
    entry
}

impl TestEdge {
    /// Gives the app of [`served`] addresses.
    fn assign(&self, addresses: &[(IpAddr, Reach)]) {
        let addresses = addresses.iter().map(|(ip, reach)| AssignedAddress {
            ip: *ip,
            reach: *reach,
            region: None,
        });
        let app = DirectoryApp {
            app_id: AppId::from_random([1; 16]),
            name: "web".parse().unwrap(),
            org_id: OrgId::from_random([1; 16]),
            network: NetworkId(1),
            hostnames: Vec::new(),
            addresses: addresses.collect(),
            replay_sources: Vec::new(),
            egress: Vec::new(),
            policies: Vec::new(),
            autoscaled: false,
        };
        self.directory
            .send_modify(|directory| Arc::make_mut(directory).apps = vec![Arc::new(app)]);
    }
}

/// Connects as soon as the door is open.
async fn connect(address: SocketAddr) -> TcpStream {
    timeout(PATIENCE, async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
    .expect("the door opens")
}

async fn until_refused(address: SocketAddr) {
    timeout(PATIENCE, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the door closes");
}

#[tokio::test]
async fn bytes_pass_through_an_address_of_ones_own() {
    let (listener, internal) = machine().await;
    let door = own_address();
    let edge = TestEdge::start(vec![served(internal, vec![port(door.port(), &[])])]).await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    let mut client = connect(door).await;
    let mut machine = accept(&listener).await;
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let send = async {
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        read_to_end(&mut client).await
    };
    let answer = async {
        let mut got = Vec::new();
        machine.read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);
        // The client has ended its side, and still hears.
        machine.write_all(b"all of it").await.unwrap();
        drop(machine);
    };
    let (heard, ()) = timeout(PATIENCE, async { tokio::join!(send, answer) })
        .await
        .unwrap();
    assert_eq!(heard, "all of it");

    // The door is the address's: without it there is none.
    edge.assign(&[]);
    until_refused(door).await;
    edge.end().await;
}

#[tokio::test]
async fn machines_are_told_of_clients_by_the_proxy_protocol() {
    let (listener, internal) = machine().await;
    let (first, second) = (own_address(), own_address());
    let mut v2 = port(second.port(), &[Handler::ProxyProto]);
    v2.proxy_proto = ProxyProtoVersion::V2;
    let v1 = port(first.port(), &[Handler::ProxyProto]);
    let edge = TestEdge::start(vec![served(internal, vec![v1, v2])]).await;
    edge.assign(&[
        (first.ip(), Reach::Dedicated),
        (second.ip(), Reach::Dedicated),
    ]);

    let client = connect(first).await;
    let mut machine = accept(&listener).await;
    let line = read_until(&mut machine, "\r\n").await;
    let own = client.local_addr().unwrap();
    let expected = format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        own.ip(),
        first.ip(),
        own.port(),
        first.port()
    );
    assert_eq!(line, expected);

    let client = connect(second).await;
    let mut machine = accept(&listener).await;
    let mut header = [0; 28];
    timeout(PATIENCE, machine.read_exact(&mut header))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(
        header[24..26],
        client.local_addr().unwrap().port().to_be_bytes()
    );
    assert_eq!(header[26..28], second.port().to_be_bytes());
    edge.end().await;
}

#[tokio::test]
async fn tls_ends_at_the_edge_with_the_ports_options() {
    let (listener, internal) = machine().await;
    let door = own_address();
    let mut tls = port(door.port(), &[Handler::Tls, Handler::ProxyProto]);
    tls.tls.versions = vec![TlsVersion::Tls13];
    let range = own_address().port();
    let mut lax = port(range, &[Handler::Tls]);
    lax.last = range.saturating_add(1);
    lax.tls.default_self_signed = true;
    let edge = TestEdge::start(vec![served(internal, vec![tls, lax])]).await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    drop(connect(door).await);
    let text = s_client(door, &["-tls1_2", "-servername", "web.mayfly.test"], "").await;
    assert!(text.contains("alert protocol version"), "{text}");
    let text = s_client(door, &["-servername", "web.other.test"], "").await;
    assert!(text.contains("no peer certificate available"), "{text}");

    // A range of ports, and a certificate for whoever comes.
    let second = SocketAddr::new(door.ip(), range.saturating_add(1));
    drop(connect(second).await);
    let text = s_client(second, &["-servername", "web.other.test"], "").await;
    assert!(text.contains("BEGIN CERTIFICATE"), "{text}");

    let talk = s_client(
        door,
        &["-quiet", "-servername", "web.mayfly.test"],
        "hello\n",
    );
    let serve = async {
        loop {
            let mut machine = accept(&listener).await;
            let mut heard = Vec::new();
            while timeout(PATIENCE, machine.read_buf(&mut heard))
                .await
                .unwrap()
                .unwrap_or(0)
                > 0
            {
                if heard.ends_with(b"hello\n") {
                    machine.write_all(b"world\n").await.unwrap();
                    return String::from_utf8(heard).unwrap();
                }
            }
            // What came before left without a word.
        }
    };
    let (answer, heard) = tokio::join!(talk, serve);
    assert!(heard.starts_with("PROXY TCP4 127."), "{heard}");
    assert!(answer.contains("world\n"), "{answer}");
    edge.end().await;
}

#[tokio::test]
async fn an_app_that_ends_tls_itself_is_found_by_server_name() {
    let (listener, internal) = machine().await;
    let edge = TestEdge::start(vec![served(internal, vec![port(443, &[])])]).await;
    let theirs = certificate(&["web.mayfly.test"]);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("cert"), &theirs.chain).unwrap();
    std::fs::write(path("key"), theirs.key.reveal()).unwrap();
    let server = own_address();
    let mut s_server = tokio::process::Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &server.to_string()])
        .arg("-cert")
        .arg(path("cert"))
        .arg("-key")
        .arg(path("key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let bridge = async {
        loop {
            let mut machine = accept(&listener).await;
            let mut own = connect(server).await;
            let _ = tokio::io::copy_bidirectional(&mut machine, &mut own).await;
        }
    };
    let see = async {
        let arguments = ["-servername", "web.mayfly.test", "-showcerts"];
        s_client(edge.https, &arguments, "").await
    };
    let text = tokio::select! {
        text = see => text,
        () = bridge => unreachable!(),
    };
    let body = theirs.chain.lines().nth(1).unwrap();
    assert!(text.replace('\n', "").contains(body), "{text}");
    s_server.kill().await.ok();
    edge.end().await;
}

#[tokio::test]
async fn psql_reaches_a_database_through_pg_tls() {
    let url = tokio::task::spawn_blocking(mayfly_testing::postgres_url)
        .await
        .unwrap();
    let (base, socket) = url.split_once("?host=").unwrap();
    let (_, database) = base.rsplit_once('/').unwrap();
    let socket = format!("{socket}/.s.PGSQL.5432");
    let (listener, internal) = machine().await;
    let door = own_address();
    let edge = TestEdge::start(vec![served(
        internal,
        vec![port(door.port(), &[Handler::PgTls])],
    )])
    .await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    drop(connect(door).await);
    let psql = async |mode: &str| {
        let place = format!(
            "host={} port={} user=postgres dbname={database} sslmode={mode}",
            door.ip(),
            door.port()
        );
        let output = tokio::process::Command::new("psql")
            .args([&place, "-Atc", "select 6 * 7"])
            .output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let bridge = async {
        loop {
            let mut machine = accept(&listener).await;
            let mut server = tokio::net::UnixStream::connect(&socket).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut machine, &mut server).await;
        }
    };
    let ask = async {
        assert_eq!(psql("require").await, "42\n");
        let refused = psql("disable").await;
        assert!(refused.contains("sslmode=require"), "{refused}");
    };
    tokio::select! {
        () = ask => {}
        () = bridge => unreachable!(),
    }
    edge.end().await;
}

#[tokio::test]
async fn datagrams_find_the_machine_and_the_way_back() {
    let machine = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let internal = machine.local_addr().unwrap().port();
    let door = own_address();
    let mut entry = served(internal, vec![port(door.port(), &[])]);
    entry.ipv4 = Ipv4Addr::LOCALHOST;
    entry.services[0].protocol = Protocol::Udp;
    let edge = TestEdge::start(vec![entry]).await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    let serve = async {
        let mut buffer = [0; 2048];
        loop {
            let (count, from) = machine.recv_from(&mut buffer).await.unwrap();
            assert_eq!(from.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
            let answer = [b"re: ", &buffer[..count]].concat();
            machine.send_to(&answer, from).await.unwrap();
        }
    };
    let ask = async |text: &str| {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(door).await.unwrap();
        timeout(PATIENCE, async {
            let mut buffer = [0; 2048];
            loop {
                client.send(text.as_bytes()).await.ok();
                let answer = timeout(Duration::from_millis(100), client.recv(&mut buffer)).await;
                if let Ok(Ok(count)) = answer {
                    break assert_eq!(&buffer[..count], format!("re: {text}").as_bytes());
                }
            }
        })
        .await
        .expect("an answer comes");
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(ask("one"), ask("two")) } => {}
        () = serve => unreachable!(),
    }
    edge.end().await;
}

#[tokio::test]
async fn private_addresses_are_closed_to_strangers() {
    let (_listener, internal) = machine().await;
    let door = own_address();
    let edge = TestEdge::start(vec![served(internal, vec![port(door.port(), &[])])]).await;
    edge.assign(&[(door.ip(), Reach::Private(NetworkId(1)))]);
    let mut client = connect(door).await;
    assert_eq!(read_to_end(&mut client).await, "");
    edge.end().await;
}

#[tokio::test]
async fn open_connections_may_finish_after_a_stop() {
    let (listener, internal) = machine().await;
    let door = own_address();
    let edge = TestEdge::start(vec![served(internal, vec![port(door.port(), &[])])]).await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    let mut client = connect(door).await;
    let mut machine = accept(&listener).await;
    edge.stop.cancel();
    until_refused(door).await;
    client.write_all(b"still here\n").await.unwrap();
    assert_eq!(read_until(&mut machine, "\n").await, "still here\n");
    drop((client, machine));
    edge.end().await;
}

#[tokio::test]
async fn an_address_of_ones_own_needs_no_host_name() {
    let (listener, internal) = machine().await;
    let door = own_address();
    let edge = TestEdge::start(vec![served(
        internal,
        vec![port(door.port(), &[Handler::Http])],
    )])
    .await;
    edge.assign(&[(door.ip(), Reach::Dedicated)]);
    let mut client = connect(door).await;
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: whatever\r\n\r\n")
        .await
        .unwrap();
    let mut machine = accept(&listener).await;
    let request = read_until(&mut machine, "\r\n\r\n").await;
    assert!(
        request.starts_with("GET /a HTTP/1.1\r\nHost: whatever\r\n"),
        "{request}"
    );
    machine
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    assert!(
        read_until(&mut client, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 204")
    );
    edge.end().await;
}
