//! How busy the machines of apps are that are scaled by load, told to the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mayfly_edge_api::{EdgeLoad, FarLoad, MachineLoad, ServiceLoad};
use mayfly_machine::Protocol;
use mayfly_runtime::{Stop, report};
use mayfly_types::{AppId, MachineId, Region};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::{Fleet, Table};

/// How often the load is looked at: one look would take a moment's chance for the whole.
const LOOK: Duration = Duration::from_millis(200);
/// Looks that make one report.
const LOOKS: u32 = 10;
const TELL_PATIENCE: Duration = Duration::from_secs(2);

/// Who is told how busy the edges of this server are.
#[async_trait]
pub trait LoadListener: Send + Sync + 'static {
    /// # Errors
    /// [`LoadUnheard`]; the report is dropped then, the next one tells of what is then.
    async fn tell(&self, load: EdgeLoad) -> Result<(), LoadUnheard>;
}

/// The control plane was not told.
#[derive(Debug, thiserror::Error)]
#[error("tell the control plane how busy this server's edges are")]
pub struct LoadUnheard(#[source] pub Box<dyn std::error::Error + Send + Sync>);

async fn run(fleet: Arc<Fleet>, listener: Arc<dyn LoadListener>, stop: Stop) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = Looks::default();
    let mut heard = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        looks.look(&fleet.table());
        if looks.count < LOOKS {
            continue;
        }
        let Some(load) = std::mem::take(&mut looks).report() else {
            continue;
        };
        let told = tokio::select! {
            () = stop.cancelled() => return,
            told = timeout(TELL_PATIENCE, listener.tell(load)) => told,
        };
        let problem = match told {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(report(&error)),
            Err(_) => Some("not answered in time".to_owned()),
        };
        match &problem {
            Some(error) if heard => warn!(error, "load of this server's edges not told"),
            Some(error) => debug!(error, "load of this server's edges not told"),
            None => {}
        }
        heard = problem.is_none();
    }
}

/// What was seen since the last report.
#[derive(Debug, Default)]
struct Looks {
    count: u32,
    /// Whether there is an app whose load is asked for.
    asked: bool,
    services: BTreeMap<(AppId, u16), Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    waiting: u64,
    refused: u32,
    /// Load of all looks together, and the soft limit.
    machines: BTreeMap<MachineId, (u64, u32)>,
    /// Of all looks together, by where it came in.
    far: BTreeMap<Region, u64>,
}

impl Looks {
    fn look(&mut self, table: &Table) {
        self.count += 1;
        for app in table.apps() {
            if !app.directory.as_ref().is_some_and(|known| known.autoscaled) {
                continue;
            }
            self.asked = true;
            // Several ways may lead to one port: they share its seats and its gate.
            let mut ports: Vec<(bool, u16)> = Vec::new();
            for service in &app.services {
                let spec = service.spec();
                let port = (spec.protocol == Protocol::Udp, spec.internal_port);
                if ports.contains(&port) {
                    continue;
                }
                ports.push(port);
                let seen = self.services.entry((app.app_id, spec.internal_port));
                let seen = seen.or_default();
                seen.waiting += u64::from(service.gate.waiting());
                seen.refused += service.gate.take_refused();
                for (region, load) in service.gate.far.look() {
                    *seen.far.entry(region).or_default() += u64::from(load);
                }
                for member in &service.members {
                    let load = member.seat.load();
                    if load > 0 {
                        let machine = seen.machines.entry(member.seat.backend.machine);
                        let (sum, soft) = machine.or_default();
                        *sum += u64::from(load);
                        *soft = member.soft;
                    }
                }
            }
        }
    }

    /// The averages; `None` if nobody asks for them.
    fn report(self) -> Option<EdgeLoad> {
        let milli = |sum: u64| sum * 1000 / u64::from(self.count.max(1));
        let services = self.services.iter();
        let services = services
            .filter(|(_, seen)| seen.waiting > 0 || seen.refused > 0 || !seen.machines.is_empty());
        let services = services.map(|((app_id, internal_port), seen)| ServiceLoad {
            app_id: *app_id,
            internal_port: *internal_port,
            waiting_milli: milli(seen.waiting),
            refused: seen.refused,
            machines: seen
                .machines
                .iter()
                .map(|(machine_id, (sum, soft))| MachineLoad {
                    machine_id: *machine_id,
                    load_milli: milli(*sum),
                    soft: *soft,
                })
                .collect(),
            far: seen
                .far
                .iter()
                .map(|(region, sum)| FarLoad {
                    region: region.clone(),
                    load_milli: milli(*sum),
                })
                .collect(),
        });
        self.asked.then(|| EdgeLoad {
            services: services.collect(),
        })
    }
}

impl Fleet {
    /// Tells `listener` every two seconds how busy the machines of apps are that are scaled by load, until `stop`. Without
    /// such an app nothing is told.
    pub async fn tell_load(self: Arc<Self>, listener: Arc<dyn LoadListener>, stop: Stop) {
        run(self, listener, stop).await;
    }
}
