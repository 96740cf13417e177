use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use mayfly_control::DirectoryFeed;
use mayfly_driver::ContainerDriver;
use mayfly_host::{Host, HostConfig, HostDeps, Housemates, Server};
use mayfly_host_store::HostStore;
use mayfly_image::ImageStore;
use mayfly_machine::MachineState;
use mayfly_runtime::{Clock, Entropy, LoopBoard};
use mayfly_types::HostId;

use crate::config::Config;
use crate::host_places::HostPlace;

/// What the hosts of this server share.
pub(super) struct HostParts<'a> {
    pub(super) config: &'a Config,
    pub(super) driver: &'a ContainerDriver,
    pub(super) images: &'a ImageStore,
    pub(super) server: &'a Server,
    pub(super) directory: &'a DirectoryFeed,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) entropy: &'a Arc<dyn Entropy>,
    pub(super) board: &'a LoopBoard,
}

impl HostParts<'_> {
    /// One host for each place, in their order, with its journal read.
    pub(super) async fn build(&self, places: &[HostPlace]) -> anyhow::Result<Vec<Host>> {
        let data_dir = &self.config.data_dir;
        let housemates = Housemates::default();
        let mut hosts = Vec::with_capacity(places.len());
        for place in places {
            let mut host = HostConfig::new(data_dir, place.region.clone());
            host.journal_dir = place.journal_dir(data_dir);
            host.measured_every = self.config.usage.measured_every;
            host.unused_images_kept = self.config.unused_images_kept;
            let ipv4_pool = match place.name() {
                None => self.driver.ipv4_pool(),
                Some(name) => self
                    .driver
                    .ipv4_pool_of(&name)
                    .expect("the driver was told of every host"),
            };
            let built = host
                .build(HostDeps {
                    driver: Arc::new(self.driver.clone()),
                    images: self.images.clone(),
                    ipv4_pool,
                    clock: self.clock.clone(),
                    entropy: self.entropy.clone(),
                    board: match places.len() {
                        1 => self.board.clone(),
                        _ => self.board.within(place.region.as_str()),
                    },
                    server: self.server.clone(),
                    directory: self.directory.subscribe(),
                    housemates: housemates.clone(),
                })
                .await
                .with_context(|| format!("open the host of region {}", place.region))?;
            hosts.push(built);
        }
        Ok(hosts)
    }
}

/// Whether machines live on a host that may not be started any more.
pub(super) async fn has_machines(
    data_dir: &Path,
    place: &HostPlace,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<bool> {
    let journal = place.journal_dir(data_dir).join("journal.db");
    if !journal.exists() {
        return Ok(false);
    }
    let fresh = HostId::from_random(entropy.bytes());
    let (store, _) = HostStore::open(&journal, fresh, "", entropy.clone())
        .await
        .with_context(|| format!("open the journal of region {}", place.region))?;
    let machines = store.machines().await.context("read the journal")?;
    Ok(machines
        .iter()
        .any(|stored| stored.machine.state() != MachineState::Destroyed))
}
