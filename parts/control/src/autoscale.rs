//! Groups whose machines come and go with the load.
//!
//! ```text
//!   edges ── every 2 s ──► loads ─┐
//!   machines, as hosts report them ┴─► rule (mayfly-deploy) ── grow ───► change under way: made ── up ──► done
//!                                                           └─ shrink ─► change under way: emptied, destroyed ──► done
//! ```
//!
//! What edges say is kept in memory and forgotten when it is old; rules and the one change that each may have under way
//! are in the store, a machine that is made by its id before it is made. So a turn after a crash finishes what was begun,
//! and nothing is made twice. What carries the mark in its metadata was made here and may be destroyed here; the mark goes
//! along when a release or a drain replaces the machine. While a release of the app or a move of its machines is under way
//! nothing is done.

mod change;
mod group;
mod loads;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use mayfly_control_store::{AutoscaleAction, AutoscaleChange, AutoscaleRule, By, StoreError};
use mayfly_deploy::{Bounds, Resize, Scope, Since, autoscale};
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{AppId, MachineId, Region};
use tracing::{info, warn};

use self::group::Group;
use self::loads::Loads;
use crate::cloud::Cloud;

pub(crate) use rest::{remove, set, show};

const EVERY: Duration = Duration::from_secs(1);

/// What is known of groups beside the store.
#[derive(Default)]
pub(crate) struct Autoscale {
    pub(crate) loads: Loads,
    /// As the rules saw their machines last.
    seen: Mutex<BTreeMap<Key, Group>>,
}

/// A rule: app, group and, if it is for one, region.
type Key = (AppId, String, Option<Region>);

impl Autoscale {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<Key, Group>> {
        self.seen.lock().expect("no holder of this lock panics")
    }
}

/// Makes and ends machines as the load asks.
pub(crate) struct Autoscaler {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

impl Cloud {
    pub(crate) fn by_autoscaler(&self) -> By {
        By::autoscaler(self.now())
    }
}

impl Autoscaler {
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.cloud.store.watch();
        let mut since = BTreeMap::new();
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.cloud.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            let works = match Box::pin(self.turn(&mut since, &mut status)).await {
                Ok(works) => works,
                Err(error) => {
                    status.last_error = Some(report(&error));
                    true
                }
            };
            status.took = self.cloud.now().since(began);
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = news.changed(), if !works => {}
                () = tokio::time::sleep(EVERY), if works => {}
            }
        }
    }

    /// Takes one step of every change, and begins new ones; whether there is anything to look after.
    async fn turn(
        &self,
        since: &mut BTreeMap<Key, Since>,
        status: &mut LoopStatus,
    ) -> Result<bool, StoreError> {
        let cloud = &self.cloud;
        let store = &cloud.store;
        let (changes, rules) = (
            store.autoscale_changes().await?,
            store.autoscale_rules(None).await?,
        );
        let wanted: BTreeSet<Key> = rules.iter().map(key).collect();
        since.retain(|key, _| wanted.contains(key));
        cloud.autoscale.seen().retain(|key, _| wanted.contains(key));
        if changes.is_empty() && rules.is_empty() {
            return Ok(false);
        }
        let busy = self.busy_apps().await?;
        let (open, waiting): (Vec<_>, Vec<_>) = changes
            .iter()
            .partition(|change| !busy.contains(&change.app_id));
        status.waiting += waiting.len() as u64;
        let taken = join_all(open.iter().map(|change| change::step(cloud, change))).await;
        for (change, taken) in open.iter().zip(taken) {
            status.applied += 1;
            if let Err(error) = taken {
                let error = error.text().to_owned();
                warn!(machine_id = %change.machine_id, error, "a change by load waits");
                status.waiting += 1;
                status.last_error = Some(error);
            }
        }
        let begun: BTreeSet<Key> = changes.iter().map(key_of_change).collect();
        for of_app in rules.chunk_by(|one, next| one.app_id == next.app_id) {
            if busy.contains(&of_app[0].app_id) {
                // What it makes of the machines is another load.
                of_app
                    .iter()
                    .for_each(|rule| drop(since.remove(&key(rule))));
                continue;
            }
            let groups = match group::look(cloud, of_app).await {
                Ok(groups) => groups,
                Err(error) => {
                    status.last_error = Some(error.text().to_owned());
                    continue;
                }
            };
            for (rule, group) in of_app.iter().zip(groups) {
                let key = key(rule);
                let since = since.entry(key.clone()).or_default();
                if !begun.contains(&key)
                    && let Some(resize) = self.judge(rule, &group, since)
                {
                    self.begin(rule, &group, resize).await?;
                }
                cloud.autoscale.seen().insert(key, group);
            }
        }
        Ok(true)
    }

    fn judge(&self, rule: &AutoscaleRule, group: &Group, since: &mut Since) -> Option<Resize> {
        let scope = Scope {
            bounds: Bounds {
                min: rule.min,
                max: rule.max,
            },
            pace: self.cloud.settings.autoscale,
            machines: &group.machines,
            load: group.load,
            demand: group.demand,
            home: &group.home,
            changed_at: rule.changed_at,
            failures: rule.failures,
            now: self.cloud.now(),
        };
        autoscale(&scope, since)
    }

    async fn begin(
        &self,
        rule: &AutoscaleRule,
        group: &Group,
        resize: Resize,
    ) -> Result<(), StoreError> {
        let cloud = &self.cloud;
        let (action, machine_id, region, reason) = match resize {
            Resize::Grow { region, why } => {
                let id = MachineId::from_random(cloud.entropy.bytes());
                (AutoscaleAction::Grow, id, region, why)
            }
            Resize::Shrink { machine, why } => {
                let found = group.machines.iter().find(|one| one.id == machine);
                let region = found.map_or_else(|| group.home.clone(), |one| one.region.clone());
                (AutoscaleAction::Shrink, machine, region, why)
            }
        };
        info!(app = %rule.app_name, group = rule.group, %machine_id, %region, reason, "load: {action}");
        let change = AutoscaleChange {
            machine_id,
            app_id: rule.app_id,
            group: rule.group.clone(),
            scope: rule.region.clone(),
            region,
            action,
            reason,
            began_at: cloud.now(),
        };
        let begun = cloud
            .store
            .begin_autoscale_change(change, cloud.by_autoscaler());
        begun.await.map(drop)
    }

    /// Apps whose machines a release or a move changes.
    async fn busy_apps(&self) -> Result<BTreeSet<AppId>, StoreError> {
        let mut busy = self.cloud.releasing().await?;
        let moves = self.cloud.store.host_moves().await?;
        let open = moves.into_iter().filter(|one| one.stage.is_open());
        busy.extend(open.map(|one| one.app_id));
        Ok(busy)
    }
}

fn key(rule: &AutoscaleRule) -> Key {
    (rule.app_id, rule.group.clone(), rule.region.clone())
}

fn key_of_change(change: &AutoscaleChange) -> Key {
    (change.app_id, change.group.clone(), change.scope.clone())
}
