//! Putting machines without work to rest: <https://fly.io/docs/reference/fly-proxy-autostop-autostart/>.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_host_api::CatalogEntry;
use mayfly_machine::{Autostop, Protocol};
use mayfly_routing::{Resting, Running, surplus};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::{MachineId, Region};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tracing::{info, warn};

use super::app::App;
use super::backend::Backend;
use super::keeper::pump;
use super::seat::Member;
use super::waker::{WakeError, Waker};
use super::{Fleet, Table};

/// How long requests that are under way may take before a machine is asked to end all the same.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long the catalog may take to show that a machine rests.
const SHOW_PATIENCE: Duration = Duration::from_secs(30);
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A machine that has nothing to do.
pub(super) struct Idle {
    pub(super) backend: Arc<Backend>,
    pub(super) resting: Resting,
    /// Its ports, whose load says when it has drained.
    seats: Vec<Member>,
}

pub(super) async fn run(fleet: Arc<Fleet>, waker: Arc<dyn Waker>, period: Duration, stop: Stop) {
    let rests = TaskSet::under(&stop);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        for idle in idle(&fleet.table(), period) {
            let (fleet, waker) = (Arc::clone(&fleet), Arc::clone(&waker));
            let patience = DRAIN_PATIENCE.min(period / 2);
            rests
                .spawn("edge.fleet.rest.machine", |stop| async move {
                    tokio::select! {
                        () = stop.cancelled() => idle.backend.end_rest(),
                        () = put_to_rest(&fleet, &*waker, &idle, patience) => {}
                    }
                })
                .await;
        }
    }
    rests.shut_down(END_PATIENCE).await;
}

/// One pass: at most one machine per app, kind of machine and region.
pub(super) fn idle(table: &Table, period: Duration) -> Vec<Idle> {
    table
        .apps()
        .filter(|app| {
            let rests = |entry: &Arc<CatalogEntry>| resting(entry).is_some();
            app.entries.iter().any(rests)
        })
        .flat_map(|app| idle_of(app, period))
        .collect()
}

/// What all services of a machine agree on.
fn resting(entry: &CatalogEntry) -> Option<Resting> {
    if entry.services.is_empty() {
        return None;
    }
    let mut agreed = Resting::Suspend;
    for service in &entry.services {
        match service.autostop {
            Autostop::Off => return None,
            Autostop::Stop => agreed = Resting::Stop,
            Autostop::Suspend => {}
        }
    }
    Some(agreed)
}

struct Judged<'a> {
    entry: &'a Arc<CatalogEntry>,
    seats: Vec<Member>,
    running: Running,
}

fn idle_of(app: &App, period: Duration) -> Vec<Idle> {
    let mut seats: HashMap<MachineId, Vec<&Member>> = HashMap::new();
    for member in app.services.iter().flat_map(|service| &service.members) {
        let id = member.seat.backend.machine;
        seats.entry(id).or_default().push(member);
    }
    // Machines with the same services stand in for each other.
    let mut groups: HashMap<Vec<(bool, u16)>, Vec<Judged<'_>>> = HashMap::new();
    for entry in &app.entries {
        let Some(seats) = seats.get(&entry.machine_id) else {
            continue;
        };
        let Some(backend) = seats.first().map(|member| &member.seat.backend) else {
            continue;
        };
        // The peak is taken from all, so that each pass sees the time since the last.
        let peaks: Vec<u32> = seats.iter().map(|member| member.seat.take_peak()).collect();
        if !backend.is_settled_running() {
            continue;
        }
        let mut group: Vec<(bool, u16)> = entry
            .services
            .iter()
            .map(|service| (service.protocol == Protocol::Udp, service.internal_port))
            .collect();
        group.sort_unstable();
        let over = |(member, peak): (&&Member, &u32)| *peak >= member.soft;
        let running = Running {
            load: peaks.iter().sum(),
            over_soft: seats.iter().zip(&peaks).any(over),
            resting: resting(entry),
            is_fresh: backend.age() < period,
        };
        groups.entry(group).or_default().push(Judged {
            entry,
            seats: seats.iter().map(|member| (*member).clone()).collect(),
            running,
        });
    }
    groups.into_values().flat_map(idle_of_group).collect()
}

fn idle_of_group(group: Vec<Judged<'_>>) -> Vec<Idle> {
    let total = group.len();
    let mut regions: HashMap<&Region, Vec<Judged<'_>>> = HashMap::new();
    for judged in group {
        regions
            .entry(&judged.entry.region)
            .or_default()
            .push(judged);
    }
    regions
        .into_iter()
        .filter_map(|(region, mut machines)| {
            let wanted = machines
                .iter()
                .flat_map(|judged| &judged.entry.services)
                .map(|service| service.min_machines_running)
                .max()
                .unwrap_or(0);
            let primary = machines
                .iter()
                .find_map(|judged| judged.entry.primary_region.as_ref());
            let floor = match primary {
                Some(primary) if primary == region => wanted,
                Some(_) => 0,
                // Nobody said where it counts: it counts everywhere together.
                None => {
                    let elsewhere = u32::try_from(total - machines.len()).unwrap_or(u32::MAX);
                    wanted.saturating_sub(elsewhere)
                }
            };
            let running: Vec<Running> = machines.iter().map(|judged| judged.running).collect();
            let (index, resting) = surplus(&running, floor)?;
            let judged = machines.swap_remove(index);
            Some(Idle {
                backend: Arc::clone(&judged.seats.first()?.seat.backend),
                resting,
                seats: judged.seats,
            })
        })
        .collect()
}

/// Gives the machine nothing new, lets it finish what it has, and asks its host. A request that comes meanwhile and finds
/// no other takes it back.
async fn put_to_rest(fleet: &Fleet, waker: &dyn Waker, idle: &Idle, patience: Duration) {
    let backend = &idle.backend;
    if !backend.drain() {
        return;
    }
    let began = Instant::now();
    let load = || {
        idle.seats
            .iter()
            .map(|member| member.seat.load())
            .sum::<u32>()
    };
    while load() > 0 && backend.is_draining() && began.elapsed() < patience {
        sleep(DRAIN_LOOK).await;
    }
    // Freezing would keep clients waiting for answers until somebody else comes.
    if load() > 0 && idle.resting == Resting::Suspend {
        backend.end_rest();
        pump(fleet, &backend.app);
        return;
    }
    if !backend.begin_rest() {
        return;
    }
    let (host, machine) = (backend.host, backend.machine);
    let rested: Result<&str, WakeError> = match idle.resting {
        Resting::Stop => waker.stop(host, machine).await.map(|()| "stop"),
        Resting::Suspend => match waker.suspend(host, machine).await {
            Ok(()) => Ok("suspend"),
            Err(error) => {
                info!(app = %backend.app, machine_id = %machine, error = %error, "cannot be suspended: stopping it");
                waker.stop(host, machine).await.map(|()| "stop")
            }
        },
    };
    match rested {
        Ok(how) => {
            info!(app = %backend.app, machine_id = %machine, region = %backend.region, how, "put to rest, without work")
        }
        Err(error) => {
            warn!(app = %backend.app, machine_id = %machine, error = %error, "not put to rest");
            backend.end_rest();
            pump(fleet, &backend.app);
            return;
        }
    }
    let asked = Instant::now();
    while backend.is_resting() && asked.elapsed() < SHOW_PATIENCE {
        sleep(DRAIN_LOOK).await;
    }
    if backend.is_resting() {
        warn!(app = %backend.app, machine_id = %machine, "still runs after it was to rest");
        backend.end_rest();
    }
    pump(fleet, &backend.app);
}
