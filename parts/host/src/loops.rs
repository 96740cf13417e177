//! The host's background work. Schedules and deadlines are not here: each machine's actor keeps its own.

mod burst;
mod images;
mod retention;
mod usage;

use std::sync::Arc;

use crate::checks;
use crate::host::Shared;

pub(crate) async fn spawn(shared: &Arc<Shared>) {
    let (burst, retention) = (shared.clone(), shared.clone());
    let (probes, reports) = (shared.clone(), shared.clone());
    let (turned, turns) = checks::turns();
    let tasks = &shared.tasks;
    tasks
        .spawn("host.checks", |stop| checks::run(probes, turned, stop))
        .await;
    tasks
        .spawn("host.check-reports", |stop| {
            checks::report_turns(reports, turns, stop)
        })
        .await;
    tasks
        .spawn("host.burst", |stop| burst::run(burst, stop))
        .await;
    let (measuring, period) = (shared.clone(), shared.config.measured_every);
    tasks
        .spawn("host.usage", move |stop| {
            usage::run(measuring, period, stop)
        })
        .await;
    if let Some(kept) = shared.config.unused_images_kept
        && shared.deps.housemates.are_led_by(shared)
    {
        let collecting = shared.clone();
        tasks
            .spawn("host.images", move |stop| {
                images::run(collecting, kept, stop)
            })
            .await;
    }
    tasks
        .spawn("host.retention", |stop| retention::run(retention, stop))
        .await;
}
