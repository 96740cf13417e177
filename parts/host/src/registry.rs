use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use mayfly_host_api::{Catalog, CatalogEntry, CheckReport, HostError, MachineReport};
use mayfly_host_store::Stored;
use mayfly_machine::{Event, MachineState};
use mayfly_types::{HostId, HostSeq, MachineId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::checks::Checks;
use crate::report::catalog_entry;

/// Requests that wait for one machine's actor. It answers in the time of a disk write; more waiting than this means
/// that the journal stands still, and callers are told so.
pub(crate) const REQUESTS_WAITING_MAX: usize = 64;

/// A request to a machine's actor.
pub(crate) struct Command {
    pub(crate) event: Event,
    pub(crate) reply: oneshot::Sender<Result<MachineReport, HostError>>,
}

/// Where one machine is reached: its actor, and the newest stored state for whoever only reads.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) stored: watch::Receiver<Arc<Stored>>,
}

/// The actor's end of a [`Handle`].
pub(crate) struct Mailbox {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stored: watch::Sender<Arc<Stored>>,
}

/// A machine's entry in the catalog, and the state it was made of.
struct Listed {
    stored: Arc<Stored>,
    checks: Option<Arc<[CheckReport]>>,
    entry: Option<Arc<CatalogEntry>>,
}

/// All machines of the host, and what is published about them together.
pub(crate) struct Registry {
    machines: Mutex<BTreeMap<MachineId, Handle>>,
    latest: watch::Sender<HostSeq>,
    catalog: watch::Sender<Catalog>,
    host_id: HostId,
    checks: Arc<Checks>,
    /// The entry made of each machine's newest state.
    entries: Mutex<HashMap<MachineId, Listed>>,
    catalog_is_old: tokio::sync::Notify,
}

impl Registry {
    pub(crate) fn new(host_id: HostId, latest: HostSeq, checks: Arc<Checks>) -> Self {
        Registry {
            machines: Mutex::default(),
            latest: watch::Sender::new(latest),
            catalog: watch::Sender::new(Arc::default()),
            host_id,
            checks,
            entries: Mutex::default(),
            catalog_is_old: tokio::sync::Notify::new(),
        }
    }

    /// Makes a machine known. The mailbox comes out once, for the one actor.
    pub(crate) fn adopt(&self, stored: Stored) -> (Handle, Option<Mailbox>) {
        let id = stored.machine.identity.machine_id;
        let seq = stored.seq;
        let mut machines = self.machines();
        if let Some(known) = machines.get(&id) {
            return (known.clone(), None);
        }
        let (commands, received) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (published, stored) = watch::channel(Arc::new(stored));
        let handle = Handle { commands, stored };
        machines.insert(id, handle.clone());
        drop(machines);
        self.changed(seq);
        let mailbox = Mailbox {
            commands: received,
            stored: published,
        };
        (handle, Some(mailbox))
    }

    pub(crate) fn find(&self, id: MachineId) -> Result<Handle, HostError> {
        let handle = self.machines().get(&id).cloned();
        handle.ok_or(HostError::UnknownMachine(id))
    }

    pub(crate) fn forget(&self, id: MachineId) {
        self.machines().remove(&id);
    }

    /// The newest state of every machine.
    pub(crate) fn all(&self) -> Vec<Arc<Stored>> {
        let machines = self.machines();
        let stored = machines
            .values()
            .map(|handle| handle.stored.borrow().clone());
        stored.collect()
    }

    /// Waits for every machine that is being destroyed now.
    pub(crate) async fn destroyed(&self) {
        let handles: Vec<Handle> = self.machines().values().cloned().collect();
        for mut handle in handles {
            if handle.stored.borrow().machine.state() == MachineState::Destroying {
                let is_over =
                    |stored: &Arc<Stored>| stored.machine.state() != MachineState::Destroying;
                // Without an actor nothing moves, which is the end of the waiting too.
                let _ = handle.stored.wait_for(is_over).await;
            }
        }
    }

    /// A machine's state was stored, and reported as `seq` at the latest.
    pub(crate) fn changed(&self, seq: HostSeq) {
        self.latest.send_if_modified(|latest| {
            let is_newer = seq > *latest;
            *latest = seq.max(*latest);
            is_newer
        });
        self.catalog_is_old.notify_one();
    }

    /// Something that the catalog shows beside the machines' states has changed.
    pub(crate) fn catalog_is_old(&self) {
        self.catalog_is_old.notify_one();
    }

    pub(crate) fn latest(&self) -> watch::Receiver<HostSeq> {
        self.latest.subscribe()
    }

    pub(crate) fn catalog(&self) -> watch::Receiver<Catalog> {
        self.catalog.subscribe()
    }

    /// Publishes the catalog anew after every change; many changes at once make one catalog.
    pub(crate) async fn keep_catalog(&self) {
        loop {
            self.catalog_is_old.notified().await;
            self.publish_catalog();
        }
    }

    pub(crate) fn publish_catalog(&self) {
        let mut known = self.entries.lock().expect("no holder of this lock panics");
        let mut listed = HashMap::with_capacity(known.len());
        let mut entries = Vec::with_capacity(known.len());
        for stored in self.all() {
            let id = stored.machine.identity.machine_id;
            let old = known.remove(&id);
            let is_same = |old: &Listed| Arc::ptr_eq(&old.stored, &stored);
            if !old.as_ref().is_some_and(is_same) {
                self.checks.see(&stored.machine);
            }
            let checks = self.checks.reports(id);
            let entry = match old {
                Some(old) if is_same(&old) && same(&old.checks, &checks) => old.entry,
                _ => {
                    let reports = checks.as_deref().unwrap_or_default();
                    catalog_entry(&stored.machine, self.host_id, reports).map(Arc::new)
                }
            };
            entries.extend(entry.clone());
            let listed_as = Listed {
                stored,
                checks,
                entry,
            };
            listed.insert(id, listed_as);
        }
        for gone in known.keys() {
            self.checks.forget(*gone);
        }
        *known = listed;
        drop(known);
        let entries = Arc::new(entries);
        self.catalog.send_if_modified(|catalog| {
            let is_new = *catalog != entries;
            *catalog = entries;
            is_new
        });
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<MachineId, Handle>> {
        self.machines.lock().expect("no holder of this lock panics")
    }
}

fn same(old: &Option<Arc<[CheckReport]>>, new: &Option<Arc<[CheckReport]>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}
