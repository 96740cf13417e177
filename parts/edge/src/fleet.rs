//! Which machines there are, which one a request gets, and which are woken or put to rest for it.
//!
//! One [`Table`] is made for all cores at each change and read as an immutable snapshot; what machines have in common
//! across tables and cores (load, wake-up, health) are atomics in [`Backend`] and its seats. A request that finds no
//! machine waits at the service's gate, first come first served, while a machine is woken or another request ends. The
//! rules themselves are in `mayfly-routing`.

mod admission;
mod app;
mod assemble;
mod backend;
mod connect;
mod diff;
mod far;
mod gate;
mod keeper;
mod key;
mod latency;
mod load;
mod opening;
mod refusal;
mod rest;
mod seat;
mod sharded;
mod table;
mod waker;
mod wish;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use mayfly_edge_api::Directory;
use mayfly_host_api::Catalog;
use mayfly_runtime::Entropy;
use mayfly_types::{HostId, MachineId, Region};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use gate::{Attempt, Verdict};

pub(crate) use admission::Admission;
pub(crate) use app::{App, Service};
pub(crate) use connect::{ConnectError, dial_for_others};
pub use keeper::Keeper;
pub use latency::Latency;
pub use load::{LoadListener, LoadUnheard};
pub(crate) use refusal::Refusal;
pub(crate) use seat::Seat;
pub(crate) use table::Table;
pub use waker::{WakeError, Waker};
pub(crate) use wish::Wish;

/// What a fleet is made from.
pub struct FleetConfig {
    /// Apps are found at `<app>.<domain>`.
    pub domain: String,
    /// Where requests come in, unless they say otherwise.
    pub region: Region,
    /// How often machines without work are looked for.
    pub autostop_period: Duration,
    /// How far the regions seem to be from each other.
    pub latency: Latency,
}

/// What a fleet learns from; when a sender is gone, its last value stays.
pub struct FleetSources {
    /// Of the hosts of this server.
    pub catalogs: Vec<watch::Receiver<Catalog>>,
    /// Of those of other servers, which come and go.
    pub others: watch::Receiver<BTreeMap<HostId, Catalog>>,
    pub directory: watch::Receiver<Arc<Directory>>,
}

/// The machines of all apps, as all cores of all edges of a process share them.
#[derive(Debug)]
pub struct Fleet {
    region: Region,
    latency: Latency,
    table: RwLock<Arc<Table>>,
    /// Grows after each change of the table.
    version: AtomicU64,
}

impl FleetConfig {
    /// The fleet with what the sources say already, and the one who keeps it current.
    pub fn build(
        self,
        sources: FleetSources,
        waker: Arc<dyn Waker>,
        entropy: &dyn Entropy,
    ) -> (Arc<Fleet>, Keeper) {
        let fleet = Arc::new(Fleet {
            region: self.region.clone(),
            latency: self.latency.clone(),
            table: RwLock::new(Arc::new(Table::new(&self.domain))),
            version: AtomicU64::new(0),
        });
        let keeper = Keeper::new(Arc::clone(&fleet), self, sources, waker, entropy);
        (fleet, keeper)
    }
}

impl Fleet {
    /// All apps now.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().expect("no holder of this lock panics"))
    }

    /// Says whether what was read off a table still stands: asked before the table is read, it never names a later one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether an app answers to a host name: lower case, without port.
    pub fn knows_host(&self, host: &str) -> bool {
        let table = self.table.read().expect("no holder of this lock panics");
        table.by_host(host).is_some()
    }

    /// A wish of a request that came in at `region`, with nothing else to it.
    pub(crate) fn wish_from(&self, region: &Region) -> Wish {
        Wish {
            near: (*region != self.region).then(|| region.clone()),
            ..Wish::default()
        }
    }

    /// A port of a machine of this server; `None` for machines of other servers.
    pub(crate) fn local_seat(&self, machine: MachineId, port: u16) -> Option<Arc<Seat>> {
        let table = self.table();
        let (app, backend) = table.by_machine(machine)?;
        let known = app
            .services
            .iter()
            .flat_map(|service| &service.members)
            .map(|member| &member.seat)
            .find(|seat| seat.port == port && Arc::ptr_eq(&seat.backend, &backend));
        let seat = known.map_or_else(|| Arc::new(Seat::new(backend.clone(), port)), Arc::clone);
        seat.backend.backhaul.is_none().then_some(seat)
    }

    /// Gives the table back that was there before: letting go of it is not to keep anybody waiting.
    fn publish(&self, table: Arc<Table>) -> Arc<Table> {
        let before = {
            let mut now = self.table.write().expect("no holder of this lock panics");
            std::mem::replace(&mut *now, table)
        };
        self.version.fetch_add(1, Ordering::Release);
        before
    }

    /// A machine for one request (for TCP: one connection), woken if need be. Waits until `deadline` at most, which is
    /// asked for only then; dropping the future gives the place in the queue up.
    ///
    /// # Errors
    /// [`Refusal`], at once if nothing could be waited for.
    pub(crate) async fn admit(
        &self,
        service: &Arc<Service>,
        wish: &Wish,
        deadline: impl FnOnce() -> Instant,
    ) -> Result<Admission, Refusal> {
        let mut admission = match at_once(service, wish) {
            Some(decided) => decided?,
            // What waiting takes is kept out of the room that every request takes.
            None => Box::pin(self.wait(Arc::clone(service), wish, deadline())).await?,
        };
        if wish.goes_anywhere() {
            admission.came_from(wish.near.as_ref().unwrap_or(&self.region));
        }
        Ok(admission)
    }

    /// The same for a request that found no machine at once.
    async fn wait(
        &self,
        mut service: Arc<Service>,
        wish: &Wish,
        deadline: Instant,
    ) -> Result<Admission, Refusal> {
        loop {
            let Ok(mut ticket) = service.gate.enqueue(wish.clone()) else {
                service.gate.note_refused();
                return Err(Refusal::Full {
                    app: service.app.to_string(),
                });
            };
            match timeout_at(deadline, &mut ticket.verdict).await {
                Ok(Ok(Verdict::Admitted(admission))) => return Ok(admission),
                Ok(Ok(Verdict::Refused(refusal))) => return Err(refusal),
                Ok(Ok(Verdict::Again) | Err(_)) => {
                    service = self.again(&service).ok_or_else(|| Refusal::NoMachine {
                        app: service.app.to_string(),
                    })?;
                    if let Some(decided) = at_once(&service, wish) {
                        return decided;
                    }
                }
                Err(_) => {
                    let refusal = Refusal::late(&service, ticket.waits_on());
                    if matches!(refusal, Refusal::Full { .. }) {
                        service.gate.note_refused();
                    }
                    return Err(refusal);
                }
            }
        }
    }

    /// The service that stands today where `service` stood.
    fn again(&self, service: &Service) -> Option<Arc<Service>> {
        let table = self.table();
        let app = table.by_name(service.app.as_str())?;
        let old = service.spec();
        let found = match old.ports.first() {
            Some(port) => app.port(port.first, old.protocol).map(|(found, _)| found),
            None => app.services.iter().find(|other| {
                let new = other.spec();
                new.protocol == old.protocol && new.internal_port == old.internal_port
            }),
        };
        found.cloned()
    }
}

/// What can be decided about a request without waiting.
fn at_once(service: &Arc<Service>, wish: &Wish) -> Option<Result<Admission, Refusal>> {
    if !service.gate.is_idle() {
        return None;
    }
    match service.gate.attempt(service, wish, 1) {
        Attempt::Admitted(admission) => Some(Ok(admission)),
        Attempt::Refused(refusal) => Some(Err(refusal)),
        Attempt::Wait(_) => None,
    }
}
