//! The registry of this cloud: served beside the API, and where the hosts of this server find its images.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::StatusCode;
use mayfly_control::Control;
use mayfly_fleet::RegistryContent;
use mayfly_host_api::RegistryLogin;
use mayfly_image::{ImageStore, StoreConfig};
use mayfly_net::{LedFor, PeerAddr};
use mayfly_registry::{Collector, Door, Registry, RegistryError};
use mayfly_runtime::{Clock, Entropy, LoopBoard, TaskSet};
use mayfly_types::{Digest, Secret};

use crate::mirror_origins::MirrorOrigins;
use crate::registry_config::RegistryConfig;

const DIRECTORY: &str = "registry";
/// The name that configurations written for upstream use.
pub(crate) const UPSTREAM: &str = "registry.fly.io";

/// What the edge calls the registry of a domain.
pub(crate) fn name_in(domain: &str) -> String {
    format!("registry.{domain}")
}

/// How the hosts of this server reach and enter the registry.
pub(crate) struct Entrance {
    /// What images are called by that are in it.
    names: Vec<String>,
    /// What the hosts of this process show; new at every start.
    hosts: Secret,
}

impl Entrance {
    /// Tells `images` where the registry is and how to enter. A name that the operator has a login for is another
    /// registry's.
    pub(crate) fn tell(
        images: &mut StoreConfig,
        domain: &str,
        api: SocketAddr,
        entropy: &dyn Entropy,
    ) -> Self {
        let secret: [u8; 32] = entropy.bytes();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let api = reached_at(api);
        let (port, own) = (api.port(), name_in(domain));
        let mut names = vec![
            own.clone(),
            UPSTREAM.to_owned(),
            api.to_string(),
            format!("localhost:{port}"),
            format!("{own}:{port}"),
        ];
        names.retain(|name| !images.logins.contains_key(name));
        for name in &names {
            let here = mayfly_image::RegistryConfig {
                base_url: format!("http://{api}"),
            };
            let login = RegistryLogin {
                username: "host".to_owned(),
                password: Secret::new(secret.clone()),
            };
            images.registries.insert(name.clone(), here);
            images.logins.insert(name.clone(), login);
        }
        images.keeps_archives = true;
        Self {
            names,
            hosts: Secret::new(secret),
        }
    }
}

#[derive(Clone)]
pub(crate) struct LocalRegistry {
    registry: Registry,
    entrance: Arc<Entrance>,
    origins: Arc<MirrorOrigins>,
    plan: Arc<RegistryConfig>,
    board: LoopBoard,
}

/// What a registry is opened with.
pub(crate) struct RegistryParts<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) config: &'a Arc<RegistryConfig>,
    pub(crate) entrance: Entrance,
    pub(crate) images: &'a ImageStore,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) entropy: &'a Arc<dyn Entropy>,
    pub(crate) board: &'a LoopBoard,
}

impl LocalRegistry {
    pub(crate) async fn open(parts: RegistryParts<'_>) -> anyhow::Result<Self> {
        let registry = Registry::open(
            &parts.data_dir.join(DIRECTORY),
            parts.config.settings.clone(),
            parts.clock.clone(),
            parts.entropy.clone(),
        )
        .await
        .context("open the registry")?;
        let own: BTreeSet<&String> = parts.entrance.names.iter().collect();
        let mirrors = parts.config.mirrors.iter();
        let origins = MirrorOrigins {
            images: parts.images.clone(),
            names: mirrors
                .filter(|name| !own.contains(name))
                .cloned()
                .collect(),
        };
        Ok(Self {
            registry,
            entrance: Arc::new(parts.entrance),
            origins: Arc::new(origins),
            plan: parts.config.clone(),
            board: parts.board.clone(),
        })
    }

    /// What images are called by that are in it.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entrance.names.clone()
    }

    /// The API with the registry beside it.
    pub(crate) fn beside(&self, control: &Control) -> Router {
        let door = Door {
            access: control.registry_access(),
            hosts: self.entrance.hosts.clone(),
        };
        let (registry, origins) = (self.registry.clone(), self.origins.clone());
        control
            .router()
            .merge(mayfly_registry::router(registry, door, origins))
    }

    /// Begins to remove now and then what has no use any more.
    pub(crate) async fn spawn(&self, control: &Control, tasks: &TaskSet) {
        let collector = Collector {
            registry: self.registry.clone(),
            access: control.registry_access(),
            period: self.plan.collect_period,
            blobs_kept: self.plan.uploads_kept,
            untagged_kept: self.plan.untagged_kept,
            mirrored_kept: self.plan.mirrored_kept,
            status: self.board.loop_named("registry.collect"),
        };
        tasks
            .spawn("registry.collect", |stop| collector.run(stop))
            .await;
    }
}

#[async_trait]
impl RegistryContent for LocalRegistry {
    async fn content(
        &self,
        digest: Digest,
    ) -> io::Result<Option<BoxStream<'static, io::Result<Bytes>>>> {
        let found: Result<_, RegistryError> = self.registry.content(digest).await;
        found.map_err(io::Error::other)
    }
}

/// The registry's part of a router that has more: what the edge lets the world reach. Whoever is led here counts as if
/// they had come by themselves.
pub(crate) fn registry_only(router: Router) -> Router {
    async fn check(mut request: Request, next: Next) -> Response {
        let extensions = request.extensions_mut();
        if let Some(LedFor(Some(client))) = extensions.remove::<LedFor>() {
            extensions.insert(PeerAddr(client));
        }
        let path = request.uri().path();
        match path == "/v2" || path.starts_with("/v2/") {
            true => next.run(request).await,
            false => StatusCode::NOT_FOUND.into_response(),
        }
    }
    Router::new().fallback_service(router).layer(from_fn(check))
}

/// An address that leads to this listener from this server.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
