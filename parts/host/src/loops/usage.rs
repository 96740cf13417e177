use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_driver::DriverError;
use mayfly_host_api::MemoryRequest;
use mayfly_machine::{Phase, UsageSample};
use mayfly_runtime::{LoopStatus, Stop, report};
use mayfly_types::{LaunchId, MachineId};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::host::Shared;

/// How often measurements are written down; a daemon that is killed loses those since.
const SAVE_EVERY: Duration = Duration::from_secs(1800);

/// Where a guest's CPU time stood at the last look.
struct Mark {
    launch_id: LaunchId,
    at: Instant,
    cpu_used_us: u64,
}

/// Looks at what started machines use, every `period`, and keeps the histories.
pub(super) async fn run(shared: Arc<Shared>, period: Duration, stop: Stop) {
    let status = shared.deps.board.loop_named("host.usage");
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut marks = HashMap::new();
    let mut saved_at = Instant::now();
    let mut unsaved = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let begun = shared.now();
        let (measured, mut last_error) = turn(&shared, &mut marks).await;
        unsaved |= measured > 0;
        if unsaved && saved_at.elapsed() >= SAVE_EVERY {
            last_error = save(&shared).await.or(last_error);
            (saved_at, unsaved) = (Instant::now(), false);
        }
        status.publish(LoopStatus {
            ran_at: Some(begun),
            took: shared.now().since(begun),
            applied: measured,
            waiting: 0,
            last_error,
        });
    }
    if unsaved && let Some(error) = save(&shared).await {
        warn!(error, "measurements not saved");
    }
}

async fn turn(shared: &Shared, marks: &mut HashMap<MachineId, Mark>) -> (u64, Option<String>) {
    let all = shared.registry.all();
    let known: HashMap<MachineId, bool> = all
        .iter()
        .map(|stored| {
            let machine = &stored.machine;
            let started = matches!(machine.phase, Phase::Started { .. });
            (machine.identity.machine_id, started)
        })
        .collect();
    shared.measures.retain(|id| known.contains_key(&id));
    marks.retain(|id, _| known.get(id).copied().unwrap_or_default());
    let (mut measured, mut last_error) = (0, None);
    for stored in &all {
        let machine = &stored.machine;
        let Phase::Started { guest } = machine.phase else {
            continue;
        };
        let id = machine.identity.machine_id;
        match look(shared, id, guest.launch_id, marks).await {
            Ok(None) => {}
            Ok(Some(sample)) => {
                let size = machine.version.spec.size;
                shared.measures.record(id, size, sample);
                measured += 1;
            }
            // It ended right now.
            Err(DriverError::NotRunning(_)) => {}
            Err(error) => last_error = Some(report(&error)),
        }
    }
    (measured, last_error)
}

/// What a guest used since the last look; nothing at the first.
async fn look(
    shared: &Shared,
    id: MachineId,
    launch_id: LaunchId,
    marks: &mut HashMap<MachineId, Mark>,
) -> Result<Option<UsageSample>, DriverError> {
    let driver = &shared.deps.driver;
    let mark = Mark {
        launch_id,
        at: Instant::now(),
        cpu_used_us: driver.cpu_used_us(id).await?,
    };
    let memory = driver.memory(id, MemoryRequest::Read).await?;
    let (at, cpu_used_us) = (mark.at, mark.cpu_used_us);
    let before = marks.insert(id, mark);
    let Some(before) = before.filter(|before| before.launch_id == launch_id) else {
        return Ok(None);
    };
    let span = at.duration_since(before.at);
    let used_us = u128::from(cpu_used_us.saturating_sub(before.cpu_used_us));
    let cpu_millis = used_us * 1000 / span.as_micros().max(1);
    Ok(Some(UsageSample {
        at: shared.now(),
        span,
        memory_mib: memory.limit_mib.saturating_sub(memory.available_mib),
        cpu_millis: u32::try_from(cpu_millis).unwrap_or(u32::MAX),
    }))
}

async fn save(shared: &Arc<Shared>) -> Option<String> {
    let shared = shared.clone();
    let saved = tokio::task::spawn_blocking(move || shared.measures.save()).await;
    let saved = saved.expect("saving does not panic");
    saved.err().map(|error| report(&error))
}
