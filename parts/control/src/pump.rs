//! Takes over what the host reports, in order and without a gap, also across restarts of either side.
//!
//! The cursor lies in the store and moves in the transaction that applies the reports, so nothing is applied twice
//! and nothing is skipped. A wake-up carries no data: each turn asks the host for what comes after the cursor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{ControlStore, Reach};
use mayfly_host_api::HostApi;
use mayfly_runtime::{Backoff, Clock, LoopHandle, LoopStatus, Stop, TaskSet};
use mayfly_types::HostId;

use crate::cloud::Cloud;
use crate::turn::TurnError;

/// Reports applied in one transaction.
const BATCH: usize = 256;
/// How often a quiet host is noted to be there, at the most.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A transaction under way may end.
const FAREWELL: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(100),
    most: Duration::from_secs(3),
};

/// Keeps a pump for every host of the fleet until told to stop.
pub(crate) async fn run_pumps(cloud: Arc<Cloud>, stop: Stop) {
    let tasks = TaskSet::under(&stop);
    let mut members = cloud.hosts.watch();
    let mut running: BTreeMap<HostId, Stop> = BTreeMap::new();
    loop {
        let now = members.borrow_and_update().clone();
        running.retain(|id, own| {
            let stays = now.iter().any(|member| member.id == *id);
            if !stays {
                own.cancel();
            }
            stays
        });
        let several = now.len() > 1;
        for member in now {
            if running.contains_key(&member.id) {
                continue;
            }
            let board = if several {
                cloud
                    .loops
                    .within(&format!("{}:{}", member.region, member.id))
            } else {
                cloud.loops.clone()
            };
            let pump = Pump {
                store: cloud.store.clone(),
                host: member.api,
                host_id: member.id,
                clock: cloud.clock.clone(),
                host_patience: cloud.settings.host_patience,
                status: board.loop_named("control.pump"),
            };
            let own = stop.child_token();
            running.insert(member.id, own.clone());
            tasks.spawn("control.pump", |_| pump.run(own)).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = members.changed() => if changed.is_err() { break },
        }
    }
    stop.cancelled().await;
    tasks.shut_down(FAREWELL).await;
}

pub(crate) struct Pump {
    pub(crate) store: ControlStore,
    pub(crate) host: Arc<dyn HostApi>,
    pub(crate) host_id: HostId,
    pub(crate) clock: Arc<dyn Clock>,
    /// A host that was silent for so long is said to be unreachable.
    pub(crate) host_patience: Duration,
    pub(crate) status: LoopHandle,
}

impl Pump {
    /// Runs until told to stop. Cancelling between turns loses nothing.
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.host.latest();
        let mut failures = 0;
        let mut heard_at = self.clock.now();
        let mut reachable = None;
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let pause = match self.turn().await {
                Ok(()) => {
                    failures = 0;
                    heard_at = self.clock.now();
                    self.note(&mut reachable, true).await;
                    HEARTBEAT.min(self.host_patience / 3)
                }
                Err(error) => {
                    let text = mayfly_runtime::report(&error);
                    tracing::warn!(host_id = %self.host_id, error = %text, "host reports not applied");
                    self.status.publish(LoopStatus {
                        ran_at: Some(self.clock.now()),
                        waiting: 1,
                        last_error: Some(text),
                        ..LoopStatus::default()
                    });
                    failures += 1;
                    if self.clock.now().since(heard_at) >= self.host_patience {
                        self.note(&mut reachable, false).await;
                    }
                    RETRY.pause(failures - 1)
                }
            };
            let failed = failures > 0;
            tokio::select! {
                () = stop.cancelled() => return,
                // A host that is gone wakes nobody; the pause still passes.
                Ok(()) = news.changed(), if !failed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Keeps whether the host answers, if that is not what was kept last.
    async fn note(&self, known: &mut Option<bool>, reachable: bool) {
        if *known == Some(reachable) {
            return;
        }
        let since = self.clock.now();
        let reach = Reach { reachable, since };
        match self.store.set_host_reach(self.host_id, reach).await {
            Ok(()) => *known = Some(reachable),
            // The next turn tries again.
            Err(error) => tracing::warn!(host_id = %self.host_id, %error, "reach not noted"),
        }
    }

    async fn turn(&self) -> Result<(), TurnError> {
        let began = self.clock.now();
        let mut cursor = self.store.host(self.host_id).await?.applied_seq;
        let mut applied = 0;
        loop {
            let events = self.host.events_after(cursor, BATCH).await?;
            if events.is_empty() {
                break;
            }
            let outcome = self.store.apply_host_events(self.host_id, events).await?;
            applied += outcome.reports;
            cursor = outcome.cursor;
        }
        let now = self.clock.now();
        self.store.host_seen(self.host_id, now).await?;
        self.status.publish(LoopStatus {
            ran_at: Some(now),
            took: now.since(began),
            applied,
            waiting: 0,
            last_error: None,
        });
        Ok(())
    }
}
