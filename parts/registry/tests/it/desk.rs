use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mayfly_net::{ServeConfig, serve};
use mayfly_registry::{
    Access, AccessError, Collected, Collector, Door, Entry, Needed, Registry, RegistrySettings,
    Right, Shown, router,
};
use mayfly_runtime::{LoopBoard, SystemClock, SystemEntropy, TaskSet};
use mayfly_testing::{Answer, Method, send};
use mayfly_types::{AppId, AppName, Digest, Secret};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::elsewhere::Elsewhere;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const HOSTS: &str = "the-hosts-own";

/// `ann` owns the app `web`, which `rob` may read, and `bob` the app `shop`; a token is its holder's name.
#[derive(Default)]
pub(crate) struct People(pub(crate) Mutex<Needed>);

#[async_trait]
impl Access for People {
    async fn entry(
        &self,
        shown: &Shown,
        app: Option<(&AppName, Right<'_>)>,
    ) -> Result<Entry, AccessError> {
        let token = shown.token.reveal();
        let own = match token {
            "ann" | "rob" => "web",
            "bob" => "shop",
            _ => return Ok(Entry::Stranger),
        };
        match app {
            None => Ok(Entry::Granted(None)),
            Some((app, Right::Push | Right::Name(..))) if app.as_str() == own && token == "rob" => {
                Ok(Entry::ReadsOnly)
            }
            Some((app, _)) if app.as_str() == own => Ok(Entry::Granted(self.app(app).await?)),
            Some(_) => Ok(Entry::Closed),
        }
    }

    async fn app(&self, name: &AppName) -> Result<Option<AppId>, AccessError> {
        Ok(match name.as_str() {
            "web" => Some(AppId::from_random([1; 16])),
            "shop" => Some(AppId::from_random([2; 16])),
            _ => None,
        })
    }

    async fn needed(&self) -> Result<Needed, AccessError> {
        let mut needed = self.0.lock().unwrap().clone();
        needed.apps.insert(AppId::from_random([1; 16]));
        needed.apps.insert(AppId::from_random([2; 16]));
        Ok(needed)
    }
}

/// A registry that is being served.
pub(crate) struct Desk {
    pub(crate) address: SocketAddr,
    pub(crate) people: Arc<People>,
    pub(crate) elsewhere: Arc<Elsewhere>,
    settings: RegistrySettings,
    registry: Registry,
    tasks: TaskSet,
    runtime: Runtime,
    directory: Arc<TempDir>,
}

impl Desk {
    pub(crate) fn open() -> Self {
        Self::open_with(RegistrySettings::default())
    }

    pub(crate) fn open_with(settings: RegistrySettings) -> Self {
        Self::open_in(Arc::new(TempDir::new().unwrap()), settings, Arc::default())
    }

    fn open_in(
        directory: Arc<TempDir>,
        settings: RegistrySettings,
        elsewhere: Arc<Elsewhere>,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let people = Arc::new(People::default());
        let tasks = TaskSet::new();
        let (registry, address) = runtime.block_on(async {
            let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
            let registry = Registry::open(directory.path(), settings.clone(), clock, entropy)
                .await
                .unwrap();
            let door = Door {
                access: people.clone(),
                hosts: Secret::new(HOSTS),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = router(registry.clone(), door, elsewhere.clone());
            tasks
                .spawn("registry", |stop| async move {
                    serve(listener, router, ServeConfig::default(), stop).await;
                })
                .await;
            (registry, address)
        });
        Self {
            address,
            people,
            elsewhere,
            settings,
            registry,
            tasks,
            runtime,
            directory,
        }
    }

    /// The same directory in a new process, as far as the registry can tell.
    pub(crate) fn restart(self) -> Self {
        let directory = self.directory.clone();
        let (settings, elsewhere) = (self.settings.clone(), self.elsewhere.clone());
        self.runtime
            .block_on(self.tasks.shut_down(Duration::from_secs(5)));
        drop(self);
        Self::open_in(directory, settings, elsewhere)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn ask(
        &self,
        who: &str,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = format!("Bearer {who}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(fields);
        send(self.address, method, path, &all, body)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn ann(&self, method: Method, path: &str) -> Answer {
        self.ask("ann", method, path, &[], b"")
    }

    pub(crate) fn push_blob(&self, who: &str, repository: &str, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.ask(who, Method::Post, &path, &[], bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    pub(crate) fn push_manifest(&self, repository: &str, reference: &str, text: &str) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let fields = [("content-type", MANIFEST)];
        self.ask("ann", Method::Put, &path, &fields, text.as_bytes())
    }

    /// An image of one layer under a tag; its manifest's digest.
    pub(crate) fn push_image(&self, tag: &str, layer: &[u8]) -> Digest {
        self.push_blob("ann", "web", b"{}");
        self.push_blob("ann", "web", layer);
        let text = image(layer, "");
        let answer = self.push_manifest("web", tag, &text);
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest(text.as_bytes())
    }

    /// One turn of the collector, for which everything counts as old.
    pub(crate) fn collect(&self) -> Collected {
        let collector = Collector {
            registry: self.registry.clone(),
            access: self.people.clone(),
            period: Duration::from_secs(3600),
            blobs_kept: Duration::ZERO,
            untagged_kept: Duration::ZERO,
            mirrored_kept: Duration::ZERO,
            status: LoopBoard::default().loop_named("collect"),
        };
        self.runtime.block_on(collector.collect()).unwrap()
    }

    pub(crate) fn need(&self, images: impl IntoIterator<Item = Digest>) {
        self.people.0.lock().unwrap().images = images.into_iter().collect::<BTreeSet<_>>();
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

fn descriptor(kind: &str, bytes: &[u8]) -> String {
    let (digest, size) = (digest(bytes), bytes.len());
    format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
}

/// A manifest with one layer and `{}` as its configuration; `more` are further fields.
pub(crate) fn image(layer: &[u8], more: &str) -> String {
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", layer);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]{more}}}"#
    )
}

pub(crate) fn subject(manifest: Digest) -> String {
    format!(r#","subject":{{"mediaType":"{MANIFEST}","digest":"{manifest}","size":1}}"#)
}
