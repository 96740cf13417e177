use std::sync::Arc;
use std::time::Duration;

use mayfly_image::ImageError;
use mayfly_runtime::{LoopStatus, Stop, report};

use crate::host::Shared;

/// How often images are looked through; more often when they are kept shorter.
const PERIOD_MAX: Duration = Duration::from_secs(3600);
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// Removes images of registries that no machine has needed for `kept`. The next machine that wants one pulls it again;
/// what was imported stays until somebody prunes.
pub(super) async fn run(shared: Arc<Shared>, kept: Duration, stop: Stop) {
    let status = shared.deps.board.loop_named("host.images");
    let period = (kept / 4).clamp(PERIOD_MIN, PERIOD_MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let begun = shared.now();
        let (applied, last_error) = match turn(&shared, kept).await {
            Ok(removed) => (removed, None),
            Err(error) => (0, Some(report(&error))),
        };
        status.publish(LoopStatus {
            ran_at: Some(begun),
            took: shared.now().since(begun),
            applied,
            waiting: 0,
            last_error,
        });
    }
}

async fn turn(shared: &Shared, kept: Duration) -> Result<u64, ImageError> {
    let (pruning, mut needed) = shared.begin_prune().await;
    let spared = pruning.spared(&needed, shared.now(), kept).await;
    needed.extend(spared);
    let pruned = pruning.remove_except(&needed, &[]).await?;
    Ok(pruned.images.len() as u64)
}
