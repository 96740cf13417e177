//! The server of names through its sockets. The asker is the loopback address, which the catalog calls a machine.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::MachineState;
use mayfly_names::{NamesConfig, Sources};
use mayfly_runtime::{SeededEntropy, Stop};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

struct TestNames {
    address: SocketAddr,
    catalog: watch::Sender<Catalog>,
    _directory: watch::Sender<Arc<Directory>>,
    stop: Stop,
    running: JoinHandle<()>,
}

impl TestNames {
    async fn start(entries: Vec<CatalogEntry>, upstreams: Vec<SocketAddr>) -> TestNames {
        let (catalog, catalogs) = watch::channel(published(entries));
        let (directory, directories) = watch::channel(Arc::default());
        let sources = Sources {
            catalog: catalogs,
            directory: directories,
        };
        let config = NamesConfig {
            listen: "[::1]:0".parse().unwrap(),
            cores: 2,
            upstreams,
        };
        let server = config
            .build(sources, Arc::new(SeededEntropy::new(7)))
            .await
            .unwrap();
        let (address, stop) = (server.address(), Stop::new());
        let token = stop.clone();
        #[allow(clippy::disallowed_methods)] // joined in `end`
        let running = tokio::spawn(async move { server.run(token).await });
        TestNames {
            address,
            catalog,
            _directory: directory,
            stop,
            running,
        }
    }

    async fn by_udp(&self, question: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("[::1]:0").await.unwrap();
        socket.send_to(question, self.address).await.unwrap();
        let mut answer = vec![0; 65_535];
        let received = timeout(PATIENCE, socket.recv(&mut answer)).await;
        answer.truncate(received.expect("an answer comes").unwrap());
        answer
    }

    async fn by_tcp(&self, questions: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        for question in questions {
            stream.write_u16(question.len() as u16).await.unwrap();
            stream.write_all(question).await.unwrap();
        }
        let mut answers = Vec::new();
        for _ in questions {
            let length = timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
            let mut answer = vec![0; length.into()];
            stream.read_exact(&mut answer).await.unwrap();
            answers.push(answer);
        }
        answers
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

fn published(entries: Vec<CatalogEntry>) -> Catalog {
    Arc::new(entries.into_iter().map(Arc::new).collect())
}

fn machine(app: &str, private_ip: Ipv6Addr) -> CatalogEntry {
    CatalogEntry {
        machine_id: MachineId::from_random([1; 14]),
        instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
        app_id: AppId::from_random([0; 16]),
        app_name: app.parse().unwrap(),
        org_id: OrgId::from_random([0; 16]),
        network: NetworkId(1),
        host_id: HostId::from_random([1; 8]),
        region: "iad".parse().unwrap(),
        private_ip,
        ipv4: Ipv4Addr::LOCALHOST,
        state: MachineState::Started,
        cordoned: false,
        services: Vec::new(),
        statics: Vec::new(),
        metadata: BTreeMap::new(),
        in_dns: true,
        primary_region: None,
        checks: Vec::new(),
    }
}

/// The asker, and `count` machines of the app `web`.
fn world(count: u128) -> Vec<CatalogEntry> {
    let web = (1..=count).map(|number| machine("web", Ipv6Addr::from_bits(0xfdaa << 112 | number)));
    std::iter::once(machine("asker", Ipv6Addr::LOCALHOST))
        .chain(web)
        .collect()
}

const AAAA: u16 = 28;

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

fn rcode(answer: &[u8]) -> u8 {
    answer[3] & 15
}

fn answers(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}

#[tokio::test]
async fn machines_are_found_by_name_over_udp_and_tcp() {
    let names = TestNames::start(world(3), Vec::new()).await;
    let known = question("web.internal", AAAA);
    let answer = names.by_udp(&known).await;
    assert_eq!(
        (answer[..2].to_vec(), rcode(&answer), answers(&answer)),
        (vec![0xab, 0xcd], 0, 3)
    );
    let unknown = question("nobody.internal", AAAA);
    let both = names.by_tcp(&[&known, &unknown]).await;
    assert_eq!((answers(&both[0]), rcode(&both[1])), (3, 3));
    names.end().await;
}

#[tokio::test]
async fn too_many_for_a_datagram_come_by_tcp() {
    let names = TestNames::start(world(100), Vec::new()).await;
    let question = question("web.internal", AAAA);
    let cut = names.by_udp(&question).await;
    assert!(cut.len() <= 512 && cut[2] & 2 != 0, "says that it is cut");
    let whole = names.by_tcp(&[&question]).await;
    assert_eq!((answers(&whole[0]), whole[0][2] & 2), (100, 0));
    names.end().await;
}

#[tokio::test]
async fn the_order_changes_from_answer_to_answer() {
    let names = TestNames::start(world(10), Vec::new()).await;
    let question = question("web.internal", AAAA);
    let first = names.by_udp(&question).await;
    let mut tries = 0;
    while names.by_udp(&question).await == first {
        tries += 1;
        assert!(tries < 50, "ten addresses stay in order");
    }
    names.end().await;
}

#[tokio::test]
async fn a_change_shows_at_once_and_strangers_are_refused() {
    let names = TestNames::start(world(0), Vec::new()).await;
    let question = question("web.internal", AAAA);
    assert_eq!(rcode(&names.by_udp(&question).await), 3);
    names.catalog.send_replace(published(world(1)));
    let shown = async {
        while answers(&names.by_udp(&question).await) != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, shown)
        .await
        .expect("the new machine is found");
    // Without the machine at our address nobody knows who asks.
    names.catalog.send_replace(published(Vec::new()));
    let refused = async {
        while rcode(&names.by_udp(&question).await) != 5 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused)
        .await
        .expect("strangers are refused");
    names.end().await;
}

/// A resolver that answers everything with one address, and counts.
async fn resolver() -> (SocketAddr, Arc<AtomicUsize>, JoinHandle<()>) {
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&count);
    #[allow(clippy::disallowed_methods)] // aborted by its test
    let running = tokio::spawn(async move {
        let mut bytes = [0; 512];
        loop {
            let (length, asker) = socket.recv_from(&mut bytes).await.unwrap();
            asked.fetch_add(1, Ordering::Relaxed);
            let mut answer = bytes[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 1, 0, 0, 16]);
            answer.extend([0x20; 16]);
            // A forger's answer first: another id.
            let mut forged = answer.clone();
            forged[0] ^= 0xff;
            socket.send_to(&forged, asker).await.unwrap();
            socket.send_to(&answer, asker).await.unwrap();
        }
    });
    (address, count, running)
}

#[tokio::test]
async fn other_names_are_asked_elsewhere_once_and_remembered() {
    let (upstream, asked, resolver) = resolver().await;
    // One that never answers stands before it.
    let silent = UdpSocket::bind("[::1]:0").await.unwrap();
    let names = TestNames::start(world(0), vec![silent.local_addr().unwrap(), upstream]).await;
    for name in ["example.com", "EXAMPLE.com", "example.com"] {
        let question = question(name, AAAA);
        let answer = names.by_udp(&question).await;
        assert_eq!((rcode(&answer), answers(&answer)), (0, 1));
        assert_eq!(answer[..2], question[..2], "under the asker's id");
        assert_eq!(
            answer[12..question.len()],
            question[12..],
            "in the asker's spelling"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    resolver.abort();
    names.end().await;
}

#[tokio::test]
async fn a_failure_to_find_out_is_said() {
    let names = TestNames::start(world(0), Vec::new()).await;
    assert_eq!(
        rcode(&names.by_udp(&question("example.com", AAAA)).await),
        2
    );
    names.end().await;
}
