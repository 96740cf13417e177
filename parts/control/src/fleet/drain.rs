//! Hosts that are emptied: each machine is replaced by one like it on another host of its region.
//!
//! ```text
//!   ── begin ──► replacing ── replacement is up ──► retiring ── machine is gone ──► done
//!                    │                                 cordon, finish requests, stop, destroy
//!                    ├── replacement fails ──► failed: the machine stays, with the reason
//!                    └── undrain, machine changed ──► replacement is destroyed, as if nothing had been
//! ```
//!
//! The store holds which hosts are emptied, and each move with the id of the replacement before that is made. Every step
//! is decided by what store and hosts say now and may be repeated, so a crash at any point is followed by the same next
//! step. Of an app one machine moves at a time. A replacement is a new machine: it has another id, name and address. The
//! address says which host a machine is on, so it could not be kept; and with one id on two hosts for a while, nobody
//! could say which of the two is meant.

pub(super) mod relocation;
pub(super) mod rest;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mayfly_control_store::{HostMove, Machine, MoveStage, StoreError};
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{AppId, HostId, MachineId};
use tracing::{info, warn};

use self::relocation::Relocation;
use self::rule::{Facts, Verdict, judge};
use crate::cloud::Cloud;

/// A move is looked at so often: checks change without an event of the log.
const EVERY: Duration = Duration::from_millis(500);
/// Machines that cannot move yet are looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Replacements that come up at a time, of all apps.
const MOVES_AT_ONCE: usize = 8;

/// Empties hosts.
pub(crate) struct Drains {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

impl Drains {
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.cloud.store.watch();
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.cloud.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            let pause = match self.turn(&mut status).await {
                Ok(pause) => pause,
                Err(error) => {
                    status.last_error = Some(report(&error));
                    Some(LOOK_AGAIN)
                }
            };
            status.took = self.cloud.now().since(began);
            self.status.publish(status);
            let again = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // While something moves, events come in swarms.
                Ok(()) = news.changed(), if pause.is_none() => {}
                () = again => {}
            }
        }
    }

    /// Takes one step of every move and begins new ones; when to look again, if not at the next event.
    async fn turn(&self, status: &mut LoopStatus) -> Result<Option<Duration>, StoreError> {
        let cloud = &self.cloud;
        let drains = cloud.store.host_drains().await?;
        let moves = cloud.store.host_moves().await?;
        let open: Vec<&HostMove> = moves.iter().filter(|one| one.stage.is_open()).collect();
        if drains.is_empty() && open.is_empty() {
            return Ok(None);
        }
        let drained: BTreeSet<HostId> = drains.iter().map(|drain| drain.host_id).collect();
        let releasing = cloud.releasing().await?;
        let steps = open.iter().map(|one| async {
            let relocation = Relocation {
                cloud,
                moving: one,
                wanted: drained.contains(&one.host_id),
                releasing: releasing.contains(&one.app_id),
            };
            relocation.step().await
        });
        for (one, taken) in open.iter().zip(join_all(steps).await) {
            match taken {
                Ok(()) => {
                    status.applied += 1;
                    if one.problem.is_some() {
                        let store = &cloud.store;
                        store.set_host_move_problem(one.machine_id, None).await?;
                    }
                }
                Err(error) => {
                    let text = report(&error);
                    status.waiting += 1;
                    status.last_error = Some(text.clone());
                    if one.problem.as_ref() != Some(&text) {
                        warn!(machine_id = %one.machine_id, error = text, "a move waits");
                        let store = &cloud.store;
                        store
                            .set_host_move_problem(one.machine_id, Some(text))
                            .await?;
                    }
                }
            }
        }
        let mut busy: BTreeSet<AppId> = open.iter().map(|one| one.app_id).collect();
        let mut waiting = 0;
        for host in drained {
            for (machine, outlook) in cloud.outlook(host, &releasing).await?.staying {
                if outlook == Outlook::Judged(Verdict::Move) {
                    if busy.len() < MOVES_AT_ONCE && busy.insert(machine.app_id) {
                        self.begin(&machine).await?;
                    }
                    waiting += 1;
                }
            }
        }
        status.waiting += waiting;
        Ok(Some(match busy.is_empty() {
            true => LOOK_AGAIN,
            false => EVERY,
        }))
    }

    async fn begin(&self, machine: &Machine) -> Result<(), StoreError> {
        let replacement = MachineId::from_random(self.cloud.entropy.bytes());
        info!(machine_id = %machine.id, host_id = %machine.host_id, %replacement, "a machine moves");
        let launches = rule::launches(machine.state);
        let by = self.cloud.by_platform();
        self.cloud
            .store
            .begin_host_move(machine.id, replacement, launches, by)
            .await
    }
}

/// The machines of a host that is emptied.
pub(super) struct HostOutlook {
    staying: Vec<(Machine, Outlook)>,
    moved: Vec<HostMove>,
}

/// How a machine of a host that is emptied stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Being replaced, or that has failed.
    Moving(HostMove),
    Judged(Verdict),
}

impl Cloud {
    /// Apps whose machines a release changes.
    pub(crate) async fn releasing(&self) -> Result<BTreeSet<AppId>, StoreError> {
        let open = self.store.open_releases().await?;
        Ok(open.into_iter().map(|release| release.app_id).collect())
    }

    /// The machines of a host, and what becomes of them.
    async fn outlook(
        &self,
        host: HostId,
        releasing: &BTreeSet<AppId>,
    ) -> Result<HostOutlook, StoreError> {
        // In this order: what goes in between is among those that moved.
        let living = self.living_on(host).await?;
        let moves = self.store.host_moves().await?;
        let hosts = self.store.hosts().await?;
        let mut moves: BTreeMap<MachineId, HostMove> = moves
            .into_iter()
            .filter(|one| one.host_id == host)
            .map(|one| (one.machine_id, one))
            .collect();
        let mut staying = Vec::new();
        for machine in living {
            let outlook = match moves.get(&machine.id) {
                Some(moving) if moving.stage == MoveStage::Done => continue,
                Some(moving) => Outlook::Moving(moving.clone()),
                None => Outlook::Judged(judge(&Facts {
                    machine: &machine,
                    hosts: &hosts,
                    releasing: releasing.contains(&machine.app_id),
                    now: self.now(),
                })),
            };
            staying.push((machine, outlook));
        }
        // One whose machine is gone and which has not been found done yet.
        moves.retain(|id, one| {
            matches!(one.stage, MoveStage::Retiring | MoveStage::Done)
                && !staying.iter().any(|(machine, _)| machine.id == *id)
        });
        Ok(HostOutlook {
            staying,
            moved: moves.into_values().collect(),
        })
    }
}
