//! The registry of this cloud: served beside the API, and where the hosts of this server find its images.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use mayfly_control::Control;
use mayfly_host_api::RegistryLogin;
use mayfly_image::{RegistryConfig, StoreConfig};
use mayfly_registry::{Collector, Door, Registry};
use mayfly_runtime::{Clock, Entropy, LoopBoard, TaskSet};
use mayfly_types::Secret;

const DIRECTORY: &str = "registry";
/// The name that configurations written for upstream use.
const UPSTREAM: &str = "registry.fly.io";
const COLLECT_PERIOD: Duration = Duration::from_secs(3600);
/// A push that was broken off can be taken up for this long without sending its layers again.
const BLOBS_KEPT: Duration = Duration::from_secs(24 * 3600);
const UNTAGGED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone)]
pub(crate) struct LocalRegistry {
    registry: Registry,
    /// What the hosts of this process show; new at every start.
    hosts: Secret,
    names: Vec<String>,
    board: LoopBoard,
}

impl LocalRegistry {
    /// Opens the registry, and tells `images` where it is and how to enter. A name that the operator has a login for is
    /// another registry's.
    pub(crate) async fn open(
        data_dir: &Path,
        domain: &str,
        api: SocketAddr,
        images: &mut StoreConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        board: LoopBoard,
    ) -> anyhow::Result<Self> {
        let secret: [u8; 32] = entropy.bytes();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let registry = Registry::open(&data_dir.join(DIRECTORY), clock, entropy)
            .await
            .context("open the registry")?;
        let api = reached_at(api);
        let port = api.port();
        let mut names = vec![
            format!("registry.{domain}"),
            UPSTREAM.to_owned(),
            api.to_string(),
            format!("localhost:{port}"),
            format!("registry.{domain}:{port}"),
        ];
        names.retain(|name| !images.logins.contains_key(name));
        for name in &names {
            let here = RegistryConfig {
                base_url: format!("http://{api}"),
            };
            let login = RegistryLogin {
                username: "host".to_owned(),
                password: Secret::new(secret.clone()),
            };
            images.registries.insert(name.clone(), here);
            images.logins.insert(name.clone(), login);
        }
        Ok(Self {
            registry,
            hosts: Secret::new(secret),
            names,
            board,
        })
    }

    /// What images are called by that are in it.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// The API with the registry beside it.
    pub(crate) fn beside(&self, control: &Control) -> Router {
        let door = Door {
            access: control.registry_access(),
            hosts: self.hosts.clone(),
        };
        let registry = mayfly_registry::router(self.registry.clone(), door);
        control.router().merge(registry)
    }

    /// Begins to remove now and then what has no use any more.
    pub(crate) async fn spawn(&self, control: &Control, tasks: &TaskSet) {
        let collector = Collector {
            registry: self.registry.clone(),
            access: control.registry_access(),
            period: COLLECT_PERIOD,
            blobs_kept: BLOBS_KEPT,
            untagged_kept: UNTAGGED_KEPT,
            status: self.board.loop_named("registry.collect"),
        };
        tasks
            .spawn("registry.collect", |stop| collector.run(stop))
            .await;
    }
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
