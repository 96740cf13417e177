use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::LocalAuthority;
use mayfly_certs::dns::Resolver;
use mayfly_control::{
    AddressPools, ApiLimits, AutoscalePace, BuilderSettings, CertificateDeps, CertificateSettings,
    Control, ControlConfig, ControlDeps, DirectoryFeed, EdgeAddress, Retention, Settings,
    first_start,
};
use mayfly_control_store::ControlStore;
use mayfly_edge_api::Directory;
use mayfly_host_api::HostApi;
use mayfly_net::{
    Body, ClientConfig, HeaderMap, HeaderName, HttpClient, Method, ServeConfig, serve,
};
use mayfly_runtime::{Clock, LoopBoard, SystemEntropy, TaskSet, TestClock};
use mayfly_seal::Sealer;
use mayfly_types::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fake_gateway::FakeGateway;
use crate::fake_host::FakeHost;
use crate::fake_names::FakeNames;
use mayfly_testing::FakeDns;

/// A running API with one app, `stage`, and the token of its admin.
pub(crate) struct Stage {
    pub(crate) host: Arc<FakeHost>,
    /// More hosts than the first.
    pub(crate) others: Vec<Arc<FakeHost>>,
    pub(crate) clock: TestClock,
    pub(crate) token: String,
    pub(crate) address: SocketAddr,
    pub(crate) store: ControlStore,
    pub(crate) published: watch::Receiver<Arc<Directory>>,
    pub(crate) dns: FakeDns,
    client: HttpClient,
    tasks: TaskSet,
    _control: Control,
    directory: TempDir,
}

/// Status, body and request id of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) request_id: Option<String>,
    headers: HeaderMap,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, given this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The error's text, given this status.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        let body = self.expect(status);
        body["error"]
            .as_str()
            .expect("errors have a text")
            .to_owned()
    }
}

/// In place of a header: the call is made without a token.
pub(crate) const ANONYMOUS: (&str, &str) = ("", "");

const SLEEPER: &str = r#"{"image":"sleeper:1","guest":{"cpus":1,"memory_mb":256}}"#;

pub(crate) fn sleeper() -> Value {
    serde_json::from_str(SLEEPER).unwrap()
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(Vec::new()).await
    }

    /// A fleet of the usual host and `others`.
    pub(crate) async fn set_with(others: Vec<Arc<FakeHost>>) -> Self {
        let directory = TempDir::new().unwrap();
        let stage = Self::open(directory, FakeHost::new(), others, None, ApiLimits::Off).await;
        let app = json!({"app_name": "stage", "org_slug": "personal"});
        stage.post("/v1/apps", app).await.expect(201);
        stage
    }

    /// The usual stage, whose API holds callers to limits.
    pub(crate) async fn limited(limits: ApiLimits) -> Self {
        let directory = TempDir::new().unwrap();
        let stage = Self::open(directory, FakeHost::new(), Vec::new(), None, limits).await;
        let app = json!({"app_name": "stage", "org_slug": "personal"});
        stage.post("/v1/apps", app).await.expect(201);
        stage
    }

    async fn open(
        directory: TempDir,
        host: Arc<FakeHost>,
        others: Vec<Arc<FakeHost>>,
        token: Option<String>,
        limits: ApiLimits,
    ) -> Self {
        let mut hosts: Vec<Arc<dyn HostApi>> = vec![host.clone()];
        hosts.extend(others.iter().map(|host| host.clone() as Arc<dyn HostApi>));
        let dns = FakeDns::start();
        let clock = TestClock::at(Timestamp::from_millis(1_700_000_000_000));
        let store = open_store(directory.path()).await;
        let first = first_start(&store, &clock, &SystemEntropy, "test.localhost").await;
        let token = token.unwrap_or_else(|| first.unwrap().unwrap().token.reveal().to_owned());
        let tasks = TaskSet::new();
        let config = ControlConfig {
            settings: Settings {
                domain: "test.localhost".to_owned(),
                api_url: "https://api.test".to_owned(),
                edges: vec![EdgeAddress {
                    region: "iad".parse().unwrap(),
                    address: "127.0.0.1:8080".parse().unwrap(),
                    https: "127.0.0.1:8443".parse().unwrap(),
                }],
                addresses: AddressPools {
                    v4: Some("127.80.0.0/29".parse().unwrap()),
                    v6: Some("fd6d:6179::/64".parse().unwrap()),
                    shared_v4: Some("127.0.0.1".parse().unwrap()),
                    ..AddressPools::default()
                },
                version: "1.2.3".to_owned(),
                certificates: CertificateSettings {
                    local_lifetime: Duration::from_secs(90 * 24 * 3600),
                    public_addresses: vec!["127.0.0.1".parse().unwrap()],
                    challenge_zone: None,
                },
                host_patience: Duration::from_secs(15),
                builder: BuilderSettings::default(),
                autoscale: AutoscalePace::default(),
                measured_enough: Duration::from_secs(3600),
                registry_names: vec!["registry.test.localhost".to_owned()],
                uploads: directory.path().join("uploads"),
            },
            retention: Retention::default(),
        };
        let directory_feed = DirectoryFeed::open(directory.path().join("directory.json"));
        let control = config
            .build(ControlDeps {
                store: store.clone(),
                hosts,
                clock: Arc::new(clock.clone()),
                entropy: Arc::new(SystemEntropy),
                certificates: certificates(directory.path(), &clock, dns.address()),
                fleet: None,
                directory: directory_feed.clone(),
                gateways: vec![FakeGateway::following(directory_feed.subscribe())],
                names: Arc::new(FakeNames),
                loops: LoopBoard::default(),
                stop: tasks.stop_token(),
            })
            .await
            .unwrap();
        let control = control.limited(limits);
        control.spawn_loops(&tasks).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = control.router();
        tasks
            .spawn("api", move |stop| async move {
                serve(listener, router, ServeConfig::default(), stop).await;
            })
            .await;
        Self {
            host,
            others,
            clock,
            token,
            address,
            store,
            client: HttpClient::new(ClientConfig::default()),
            tasks,
            _control: control,
            dns,
            published: directory_feed.subscribe(),
            directory,
        }
    }

    /// Ends the API and starts it again on the same store and host.
    pub(crate) async fn restart(self) -> Self {
        let ended = self.tasks.shut_down(Duration::from_secs(8)).await;
        assert!(ended, "something keeps the API from ending");
        let token = Some(self.token);
        Self::open(
            self.directory,
            self.host,
            self.others,
            token,
            ApiLimits::Off,
        )
        .await
    }

    /// Ends the API; what it left is in the directory returned.
    pub(crate) async fn stop(self) -> TempDir {
        let ended = self.tasks.shut_down(Duration::from_secs(8)).await;
        assert!(ended, "something keeps the API from ending");
        self.directory
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method, url);
        let anonymous = headers.contains(&ANONYMOUS);
        if !anonymous && !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.authorization(&format!("Bearer {}", self.token));
        }
        for (name, value) in headers.iter().filter(|header| **header != ANONYMOUS) {
            request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        if let Some(body) = body {
            request = request.body(Body::bytes(body));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let request_id = response
            .header(HeaderName::from_static("fly-request-id"))
            .map(str::to_owned);
        let headers = response.headers().clone();
        let bytes = response.bytes(16 << 20).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                panic!("{status} is not JSON: {}", String::from_utf8_lossy(&bytes))
            })
        };
        Answer {
            status,
            body,
            request_id,
            headers,
        }
    }

    /// The text of an answer to a stranger.
    pub(crate) async fn raw(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let bytes = answer.bytes(1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let body = body.to_string().into_bytes();
        self.call(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        let body = body.to_string().into_bytes();
        self.call(Method::PUT, path, &[], Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], None).await
    }

    /// Creates a machine with this configuration; returns its path and itself.
    pub(crate) async fn machine(&self, config: Value) -> (String, Value) {
        let body = json!({ "config": config });
        let machine = self.post("/v1/apps/stage/machines", body).await.expect(200);
        let id = machine["id"].as_str().unwrap();
        (format!("/v1/apps/stage/machines/{id}"), machine)
    }
}

async fn open_store(directory: &Path) -> ControlStore {
    let path = directory.join("control.db");
    ControlStore::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap()
}

fn certificates(directory: &Path, clock: &TestClock, dns: SocketAddr) -> CertificateDeps {
    let authority = LocalAuthority::open(&directory.join("authority"), clock.now(), &SystemEntropy);
    let sealer = Sealer::open(&directory.join("sealing.key"), &SystemEntropy);
    CertificateDeps {
        authority: Arc::new(authority.unwrap()),
        sealer: Arc::new(sealer.unwrap()),
        resolver: Resolver::new(vec![dns], Arc::new(SystemEntropy)),
        acme: None,
    }
}

/// Looks until there is something, a minute at most.
pub(crate) async fn found<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), looking).await;
    found.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Looks until it is so, a minute at most.
pub(crate) async fn until(what: &str, fact: impl AsyncFn() -> bool) {
    found(what, async || fact().await.then_some(())).await;
}
