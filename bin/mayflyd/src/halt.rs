use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use mayfly_driver::{ContainerConfig, ContainerDriver, Driver, DriverError, Observed};
use mayfly_host_store::HostStore;
use mayfly_image::{ImageStore, StoreConfig};
use mayfly_machine::StopSpec;
use mayfly_mesh::LocalAddresses;
use mayfly_runtime::{Entropy, SystemClock, SystemEntropy};
use mayfly_types::{HostId, MachineId};

use crate::host_places;
use crate::lock::DataDirLock;

/// What the journal records as the boot after a halt: no kernel says so, hence the next start is one after a reboot.
const HALTED: &str = "halted";

/// Ends every machine's body while no daemon runs, and returns how many there were. Nothing of the cloud is left in the
/// kernel.
///
/// Nothing of what was asked for changes: the journal still says that the machines run, and the next start treats the
/// absence of their bodies like a reboot. An end that a monitor has already recorded stays for the host to find.
pub(crate) async fn halt(data_dir: &Path) -> anyhow::Result<usize> {
    let _lock = DataDirLock::take(data_dir)?;
    LocalAddresses::open(data_dir)
        .and_then(LocalAddresses::clear)
        .context("stop answering for the addresses of apps")?;
    let places = host_places::all(data_dir)?;
    if places.is_empty() {
        return Ok(0);
    }
    let images = ImageStore::open(&data_dir.join("images"), StoreConfig::default())
        .await
        .context("open the images")?;
    let driver = ContainerDriver::start(ContainerConfig {
        data_dir: data_dir.to_owned(),
        more_hosts: Vec::new(),
        images: Arc::new(images),
        clock: Arc::new(SystemClock),
    })
    .await
    .context("start the driver")?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let mut stores = Vec::with_capacity(places.len());
    let mut rules: Vec<(MachineId, StopSpec)> = Vec::new();
    for place in places {
        let journal = place.journal_dir(data_dir).join("journal.db");
        let fresh = HostId::from_random(entropy.bytes());
        let (store, _) = HostStore::open(&journal, fresh, HALTED, entropy.clone())
            .await
            .with_context(|| format!("open {}", journal.display()))?;
        let machines = store.machines().await.context("read the journal")?;
        rules.extend(machines.into_iter().map(|stored| {
            (
                stored.machine.identity.machine_id,
                stored.machine.version.spec.stop,
            )
        }));
        stores.push(store);
    }
    let bodies = driver.machines().await.context("list machines")?;
    let ends = join_all(bodies.iter().map(|machine| {
        let rule = rules
            .iter()
            .find(|(known, _)| known == machine)
            .map_or_else(StopSpec::default, |(_, rule)| *rule);
        end(&driver, *machine, rule)
    }))
    .await;
    let mut ended = 0;
    for result in ends {
        ended += usize::from(result?);
    }
    driver
        .withdraw()
        .await
        .context("leave nothing in the kernel")?;
    for store in stores {
        store.recovered(HALTED).await.context("close the journal")?;
    }
    Ok(ended)
}

/// Whether systemd is taking the server down, by its own word (`systemctl is-system-running`); false without systemd.
pub(crate) fn server_goes_down() -> bool {
    std::process::Command::new("systemctl")
        .arg("is-system-running")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"stopping")
}

/// Ends one body by its own rule; false if there was none.
async fn end(driver: &ContainerDriver, machine: MachineId, rule: StopSpec) -> anyhow::Result<bool> {
    let observed = driver
        .observe(machine)
        .await
        .with_context(|| format!("look at machine {machine}"))?;
    let guest = match observed {
        Observed::Absent | Observed::Exited(_) => return Ok(false),
        Observed::Frozen(_) => None,
        Observed::Running(guest) => Some(guest),
    };
    if let Some(guest) = guest {
        match driver.signal(machine, rule.signal).await {
            Ok(()) => wait(driver, machine, guest.launch_id, rule.patience).await,
            Err(DriverError::NotRunning(_)) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("ask machine {machine} to end"));
            }
        }
    }
    driver
        .kill(machine)
        .await
        .with_context(|| format!("kill machine {machine}"))?;
    driver
        .clean(machine)
        .await
        .with_context(|| format!("clean up after machine {machine}"))?;
    Ok(true)
}

/// Returns when the guest has ended or `patience` has passed; what is left is killed next.
async fn wait(
    driver: &ContainerDriver,
    machine: MachineId,
    launch: mayfly_types::LaunchId,
    patience: Duration,
) {
    tokio::time::timeout(patience, driver.exited(machine, launch))
        .await
        .ok();
}
