//! An edge with scripted machines behind it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_edge::{
    Buckets, EdgeConfig, EdgeDeps, EdgeMetrics, FleetConfig, FleetSources, HttpSettings, WakeError,
    Waker,
};
use mayfly_edge_api::Directory;
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::{
    Handler, HttpOptions, MachineState, PortSpec, Protocol, ProxyProtoVersion, ServiceSpec,
    TlsOptions,
};
use mayfly_runtime::{SeededEntropy, Stop, SystemClock};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

pub(crate) struct TestEdge {
    pub(crate) metrics: EdgeMetrics,
    pub(crate) address: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) catalog: watch::Sender<Catalog>,
    pub(crate) directory: watch::Sender<Arc<Directory>>,
    pub(crate) stop: Stop,
    pub(crate) running: tokio::task::JoinHandle<()>,
}

impl TestEdge {
    pub(crate) async fn start(entries: Vec<CatalogEntry>) -> TestEdge {
        TestEdge::start_as(entries, |_| {}).await
    }

    /// Like [`TestEdge::start`], with settings of its own.
    pub(crate) async fn start_as(
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
            serves_everywhere: true,
            passages: BTreeMap::new(),
            drain: Duration::from_secs(10),
            http: HttpSettings::default(),
        };
        change(&mut config);
        let (fleet, keeper) = FleetConfig {
            domain: config.domain.clone(),
            region: config.region.clone(),
            autostop_period: Duration::from_secs(180),
            latency: mayfly_edge::Latency::default(),
        }
        .build(
            FleetSources {
                catalogs: vec![receiver],
                others: watch::Sender::default().subscribe(),
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
                statics: Arc::new(()),
                buckets: Buckets::new(BTreeMap::new(), None),
                inherited: Vec::new(),
            })
            .unwrap();
        let metrics = edge.metrics();
        let (address, https, stop) = (edge.address(), edge.https_address(), Stop::new());
        let token = stop.clone();
        #[allow(clippy::disallowed_methods)] // joined in `end`
        let running = tokio::spawn(async move {
            let (ran, ()) = tokio::join!(edge.run(token.clone()), keeper.run(token));
            ran.unwrap();
        });
        TestEdge {
            metrics,
            address,
            https,
            catalog,
            directory,
            stop,
            running,
        }
    }

    /// Sends bytes and reads until the edge closes or the answer to `count` requests has come.
    pub(crate) async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the edge ends the connection")
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
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

pub(crate) fn entry(app: &str, port: u16) -> CatalogEntry {
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

pub(crate) async fn machine() -> (TcpListener, u16) {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept())
        .await
        .expect("the edge connects")
        .unwrap()
        .0
}

/// HTTP at ports 80 and 443.
pub(crate) fn service(port: u16) -> ServiceSpec {
    let public = |port: u16, handlers: &[Handler]| PortSpec {
        first: port,
        last: port,
        handlers: handlers.to_vec(),
        force_https: false,
        tls: TlsOptions::default(),
        http: HttpOptions::default(),
        proxy_proto: ProxyProtoVersion::default(),
    };
    ServiceSpec {
        ports: vec![
            public(80, &[Handler::Http]),
            public(443, &[Handler::Tls, Handler::Http]),
        ],
        ..ServiceSpec::new(Protocol::Tcp, port)
    }
}

/// Machine number `number` of an app, in `region`.
pub(crate) fn machine_of(app: &str, number: u8, region: &str, port: u16) -> CatalogEntry {
    let mut entry = entry(app, port);
    entry.machine_id = machine_id(number);
    entry.region = region.parse().unwrap();
    entry.app_id = AppId::from_random([app.len() as u8; 16]);
    // Machines on one server differ by address; all of 127/8 is this one.
    entry.ipv4 = Ipv4Addr::new(127, 0, 7, number);
    entry
}

pub(crate) fn machine_id(number: u8) -> MachineId {
    MachineId::from_random([number; 14])
}

/// A machine's program: answers each request, on kept connections, with what `answer` makes of its head and body.
pub(crate) struct Program {
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Program {
    /// Listens on the address of machine number `number`; port 0 chooses one, which is returned.
    pub(crate) async fn listen(
        number: u8,
        port: u16,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> (Program, u16) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 7, number), port))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, answer) = (Arc::clone(&heard), Arc::new(answer));
        #[allow(clippy::disallowed_methods)] // aborted when dropped
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                open.spawn(async move { Box::pin(serve(stream, &all, &*answer)).await });
            }
        });
        (Program { heard, task }, port)
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    heard: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> String + Sync),
) {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 16 * 1024];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = field(head, "content-length").map_or(0, |value| value.parse().unwrap());
        let chunked = field(head, "transfer-encoding").is_some();
        // The last chunk may have trailers behind it.
        let ended =
            body.ends_with("\r\n\r\n") && (body.starts_with("0\r\n") || body.contains("\r\n0\r\n"));
        if body.len() < length || (chunked && !ended) {
            continue;
        }
        heard.lock().unwrap().push(text.clone());
        let reply = answer(&text);
        // An empty answer is none: the machine dies.
        if reply.is_empty() || stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

/// The first value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then_some(value.trim())
        })
}

/// A complete answer with this body.
pub(crate) fn ok(body: &str) -> String {
    answer(200, "", body)
}

/// A complete answer; `lines` are header lines with their ends.
pub(crate) fn answer(status: u16, lines: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The text of a GET that closes the connection.
pub(crate) fn get(app: &str, path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {app}.mayfly.test\r\nConnection: close\r\n{lines}\r\n")
}
