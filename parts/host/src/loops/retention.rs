use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::{LoopStatus, Stop, report};
use tracing::warn;

use crate::host::Shared;

const PERIOD: Duration = Duration::from_secs(600);

/// An image that was resolved is kept this long for the machine it was resolved for.
const FRESH_FOR: Duration = Duration::from_secs(900);

/// Drops what nobody will ask for any more: old reports, destroyed machines with their logs, pins of images.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    let status = shared.deps.board.loop_named("host.retention");
    loop {
        let begun = shared.now();
        let turned = turn(&shared).await;
        let (applied, last_error) = match turned {
            Ok(applied) => (applied, None),
            Err(error) => (0, Some(report(&error))),
        };
        status.publish(LoopStatus {
            ran_at: Some(begun),
            took: shared.now().since(begun),
            applied,
            waiting: 0,
            last_error,
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn turn(shared: &Shared) -> Result<u64, mayfly_host_store::StoreError> {
    let now = shared.now();
    let pins = {
        let mut pins = shared
            .fresh_pins
            .lock()
            .expect("no holder of this lock panics");
        let fresh = pins.partition_point(|(at, _)| now.since(*at) > FRESH_FOR);
        pins.drain(..fresh).count()
    };
    let reports = shared
        .store
        .drop_reports(now - shared.config.reports_kept)
        .await?;
    let gone = shared
        .store
        .forget_destroyed(now - shared.config.destroyed_kept)
        .await?;
    for id in &gone {
        shared.registry.forget(*id);
        let dir = shared.config.kept_log_dir(*id);
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err((dir, error)),
            _ => Ok(()),
        })
        .await
        .expect("removing does not panic");
        if let Err((dir, error)) = removed {
            warn!(machine_id = %id, path = %dir.display(), %error, "log not removed");
        }
    }
    Ok(reports + gone.len() as u64 + pins as u64)
}
