use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_host_api::{HostError, MachineReport};
use mayfly_host_store::{HostStore, Stored};
use mayfly_image::Pinned;
use mayfly_machine::{Event, MachineState};
use mayfly_runtime::{Stop, TaskSet, report};
use mayfly_ssh::HostKey;
use mayfly_types::{ErrorKind, HostId, MachineId, Timestamp};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::actor::{Actor, Origin};
use crate::checks::Checks;
use crate::error::{BuildError, refused, stopping};
use crate::measures::Measures;
use crate::registry::{Command, Handle, Mailbox, Registry};
use crate::shells::Shells;
use crate::volumes::VolumeLocks;
use crate::{HostConfig, HostDeps, loops};

/// The supervisor. Clones share it; the calls of `HostApi` work from the moment it is built.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) deps: HostDeps,
    pub(crate) store: HostStore,
    pub(crate) host_id: HostId,
    pub(crate) registry: Registry,
    pub(crate) checks: Arc<Checks>,
    pub(crate) shells: Shells,
    pub(crate) volume_locks: VolumeLocks,
    pub(crate) measures: Measures,
    pub(crate) tasks: TaskSet,
    /// Images resolved a short while ago, kept until the machines they were resolved for are on record.
    pub(crate) fresh_pins: Mutex<VecDeque<(Timestamp, Pinned)>>,
    /// Machines from the journal whose actors begin with [`Host::run`].
    waiting: Mutex<Vec<Mailbox>>,
    rebooted: bool,
    /// How many machines are still being looked at after the start.
    recovering: watch::Sender<usize>,
}

/// How long actors may take to finish what they are doing when the host stops.
const FAREWELL: Duration = Duration::from_secs(10);

impl HostConfig {
    /// Opens the journal, making directories and a host identity at the first start.
    ///
    /// # Errors
    /// The journal cannot be opened, or was written by a newer program.
    pub async fn build(self, deps: HostDeps) -> Result<Host, BuildError> {
        let dir = self.journal_dir.join("logs");
        std::fs::create_dir_all(&dir).map_err(|source| BuildError::Directory {
            path: dir.clone(),
            source,
        })?;
        let path = self.journal_dir.join("journal.db");
        let failed = |source| BuildError::Journal {
            path: path.clone(),
            source,
        };
        let fresh = HostId::from_random(deps.entropy.bytes());
        let (store, opened) =
            HostStore::open(&path, fresh, &deps.server.boot_id, deps.entropy.clone())
                .await
                .map_err(failed)?;
        let latest = store.newest_report().await.map_err(failed)?;
        let machines = store.machines().await.map_err(failed)?;
        let checks = Arc::new(Checks::new(deps.clock.clone()));
        let registry = Registry::new(opened.host_id, latest, checks.clone());
        let waiting: Vec<Mailbox> = machines
            .into_iter()
            .filter_map(|stored| registry.adopt(stored).1)
            .filter(|mailbox| mailbox.stored.borrow().machine.state() != MachineState::Destroyed)
            .collect();
        // Whoever follows it would otherwise believe for a moment that there are no machines: their policies would be lifted.
        registry.publish_catalog();
        info!(
            host_id = %opened.host_id,
            machines = waiting.len(),
            rebooted = opened.rebooted,
            "journal opened"
        );
        let host_key = HostKey::open(&self.journal_dir.join("ssh_host_key"), deps.entropy.bytes())
            .map_err(BuildError::Shells)?;
        let shells = Shells::new(host_key, deps.clock.clone(), deps.directory.clone());
        let measures = Measures::open(self.journal_dir.join("usage.json"));
        let shared = Arc::new(Shared {
            shells,
            measures,
            recovering: watch::Sender::new(waiting.len()),
            waiting: Mutex::new(waiting),
            rebooted: opened.rebooted,
            host_id: opened.host_id,
            config: self,
            deps,
            store,
            registry,
            checks,
            volume_locks: VolumeLocks::default(),
            tasks: TaskSet::new(),
            fresh_pins: Mutex::default(),
        });
        shared.deps.housemates.join(&shared);
        Ok(Host(shared))
    }
}

impl Host {
    pub fn host_id(&self) -> HostId {
        self.0.host_id
    }

    /// The directories of a machine's image for overlayfs, topmost first; `None` if the machine or its layers are not
    /// here. They stay as long as the machine exists.
    pub fn image_layers(&self, machine: MachineId) -> Option<Vec<PathBuf>> {
        let handle = self.0.registry.find(machine).ok()?;
        let image = handle.stored.borrow().machine.version.spec.image.digest()?;
        self.0.deps.images.layers(image).ok()
    }

    /// Continues every machine from the journal and keeps the host's loops going until told to stop. Guests run on
    /// after the return.
    pub async fn run(&self, stop: Stop) {
        let shared = &self.0;
        let waiting = std::mem::take(
            &mut *shared
                .waiting
                .lock()
                .expect("no holder of this lock panics"),
        );
        let origin = if shared.rebooted {
            Origin::Boot
        } else {
            Origin::Restart
        };
        for mailbox in waiting {
            shared.spawn_actor(mailbox, origin).await;
        }
        let catalog = shared.clone();
        shared
            .tasks
            .spawn("host.catalog", |stop| async move {
                stop.run_until_cancelled(catalog.registry.keep_catalog())
                    .await;
            })
            .await;
        let recovery = shared.clone();
        shared
            .tasks
            .spawn("host.recovery", |stop| async move {
                stop.run_until_cancelled(recovery.finish_recovery()).await;
            })
            .await;
        let volumes = shared.clone();
        shared
            .tasks
            .spawn("host.volumes", |stop| volumes.recover_volumes(stop))
            .await;
        loops::spawn(shared).await;
        stop.cancelled().await;
        if !shared.tasks.shut_down(FAREWELL).await {
            warn!("some machines' actors did not end in time; the journal continues them");
        }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    pub(crate) async fn spawn_actor(self: &Arc<Self>, mailbox: Mailbox, origin: Origin) {
        let actor = Actor::new(self.clone(), mailbox, origin);
        self.tasks
            .spawn("host.machine", |stop| Box::pin(actor.run(stop)))
            .await;
    }

    /// Makes a machine that was just stored known and starts its actor.
    pub(crate) async fn take_on(self: &Arc<Self>, stored: Stored) -> Handle {
        let (handle, mailbox) = self.registry.adopt(stored);
        if let Some(mailbox) = mailbox {
            self.spawn_actor(mailbox, Origin::Create).await;
        }
        handle
    }

    /// Hands an event to a machine's actor and waits until its consequence is stored.
    pub(crate) async fn request(
        &self,
        machine: MachineId,
        event: Event,
    ) -> Result<MachineReport, HostError> {
        let handle = self.registry.find(machine)?;
        let (reply, answer) = oneshot::channel();
        let command = Command {
            event: event.clone(),
            reply,
        };
        if handle.commands.send(command).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // No actor: the machine is destroyed, or the host is stopping.
        let stored = handle.stored.borrow().clone();
        if stored.machine.state() != MachineState::Destroyed {
            return Err(stopping(machine));
        }
        mayfly_machine::step(&stored.machine, event, self.now()).map_err(refused)?;
        Ok(self.report(&stored))
    }

    pub(crate) fn report(&self, stored: &Stored) -> MachineReport {
        crate::report::report(&stored.machine, self.host_id, stored.seq)
    }

    pub(crate) fn recovered_one(&self) {
        self.recovering.send_modify(|left| *left -= 1);
    }

    /// Once every machine was looked at: notes the boot, and removes what no journal row knows.
    async fn finish_recovery(&self) {
        let mut recovering = self.recovering.subscribe();
        if recovering.wait_for(|left| *left == 0).await.is_err() {
            return;
        }
        if let Err(error) = self.store.recovered(&self.deps.server.boot_id).await {
            error!(
                error = report(&error),
                "boot not recorded; the next start treats it as new"
            );
        }
        let held = match self.deps.driver.machines().await {
            Ok(held) => held,
            Err(error) => {
                error!(error = report(&error), "orphans not looked for");
                return;
            }
        };
        for id in held {
            if self.deps.housemates.own(id).await {
                continue;
            }
            info!(machine_id = %id, "removing a machine that the journal does not know");
            if let Err(error) = self.remove_orphan(id).await {
                error!(machine_id = %id, error = report(&error), "orphan not removed");
            }
        }
    }

    /// Whether the journal wants something of this machine to exist. In doubt it does.
    pub(crate) async fn owns(&self, id: MachineId) -> bool {
        match self.store.machine(id).await {
            Ok(Some(stored)) => stored.machine.state() != MachineState::Destroyed,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn remove_orphan(&self, id: MachineId) -> Result<(), mayfly_driver::DriverError> {
        self.deps.driver.kill(id).await?;
        self.deps.driver.remove(id).await
    }

    /// Refuses a start that would promise more memory than there is, if the host is told not to.
    pub(crate) fn admit(
        &self,
        machine: Option<MachineId>,
        memory_mib: u32,
    ) -> Result<(), HostError> {
        if self.config.overcommit == crate::Overcommit::Allow {
            return Ok(());
        }
        let promised: u64 = self
            .registry
            .all()
            .iter()
            .filter(|stored| Some(stored.machine.identity.machine_id) != machine)
            .filter(|stored| stored.machine.phase.launch_id().is_some())
            .map(|stored| u64::from(stored.machine.version.spec.size.memory_mib))
            .sum();
        let free = self.deps.server.memory_mib.saturating_sub(promised);
        if u64::from(memory_mib) <= free {
            return Ok(());
        }
        Err(HostError::Refused(mayfly_host_api::Refusal::NoCapacity(
            format!("{memory_mib} MiB of memory wanted, {free} MiB free on this host"),
        )))
    }

    /// Runs work that must reach its end even if the caller goes away.
    pub(crate) async fn detached<T, F>(
        self: &Arc<Self>,
        name: &'static str,
        work: F,
    ) -> Result<T, HostError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, HostError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.tasks
            .spawn_guarded(name, |_| async move {
                // The caller may have gone away; the work is done all the same.
                let _ = reply.send(work.await);
            })
            .await;
        answer.await.unwrap_or_else(|_| {
            Err(HostError::Failed {
                action: name.to_owned(),
                kind: ErrorKind::Unavailable,
                source: "the host is shutting down".into(),
            })
        })
    }
}
