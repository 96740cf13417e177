//! The host's background work. Schedules and deadlines are not here: each machine's actor keeps its own.

mod burst;
mod retention;

use std::sync::Arc;

use crate::host::Shared;

pub(crate) async fn spawn(shared: &Arc<Shared>) {
    let (burst, retention) = (shared.clone(), shared.clone());
    let tasks = &shared.tasks;
    tasks
        .spawn("host.burst", |stop| burst::run(burst, stop))
        .await;
    tasks
        .spawn("host.retention", |stop| retention::run(retention, stop))
        .await;
}
