use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mayfly_control_store::Release;
use mayfly_runtime::{Backoff, LoopHandle, LoopStatus, Stop, TaskSet, report};
use mayfly_types::{AppId, EventSeq};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::deployment::{Deployment, Progress};
use super::machine_checks::clear;
use crate::cloud::Cloud;

/// A release under way is looked at so often without news: checks change without an event of the log.
const EVERY: Duration = Duration::from_millis(250);

/// And, whatever goes on in the cloud, so long after a look at least, or for as long as the look took: a large app is not
/// looked at without end.
const BREATH: Duration = Duration::from_millis(2);

/// Another process may have recorded a release in the same database.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A step that failed is taken again after a while; each try is a line for those who follow.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(250),
    most: Duration::from_secs(15),
};

/// How long a turn may go on when the process is to end; the next process looks again.
const LAST_TURN: Duration = Duration::from_secs(5);

/// Carries out releases: those of one app one after the other, those of different apps without waiting for each other.
pub(crate) struct Deployments {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

/// The apps whose release is being carried out by this process.
#[derive(Clone, Default)]
struct UnderWay {
    apps: Arc<Mutex<BTreeSet<AppId>>>,
    ended: Arc<Notify>,
}

impl UnderWay {
    fn apps(&self) -> MutexGuard<'_, BTreeSet<AppId>> {
        self.apps.lock().expect("no holder of this lock panics")
    }

    fn end(&self, app: AppId) {
        self.apps().remove(&app);
        self.ended.notify_one();
    }
}

impl Deployments {
    pub(crate) async fn run(self, stop: Stop) {
        let tasks = TaskSet::new();
        let under_way = UnderWay::default();
        let mut news = self.cloud.store.watch();
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let mut status = LoopStatus {
                ran_at: Some(self.cloud.now()),
                ..LoopStatus::default()
            };
            match self.cloud.store.open_releases().await {
                Ok(open) => {
                    status.waiting = open.len() as u64;
                    for release in first_of_each_app(open) {
                        if under_way.apps().insert(release.app_id) {
                            let (cloud, under_way) = (self.cloud.clone(), under_way.clone());
                            tasks
                                .spawn("control.deployment", move |stop| async move {
                                    let app = release.app_id;
                                    Box::pin(carry_out(&cloud, release, stop)).await;
                                    under_way.end(app);
                                })
                                .await;
                        }
                    }
                }
                Err(error) => status.last_error = Some(report(&error)),
            }
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = news.changed() => {}
                () = under_way.ended.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        tasks.shut_down(LAST_TURN).await;
    }
}

/// The oldest open release of every app; `open` is in the order of apps and numbers.
fn first_of_each_app(mut open: Vec<Release>) -> Vec<Release> {
    open.dedup_by_key(|release| release.app_id);
    open
}

/// Between two turns of a release.
enum Pause {
    /// Until something changed since a look that took so long, or might have without a word.
    UntilNews(Duration),
    For(Duration),
}

impl Pause {
    async fn over(self, news: &mut watch::Receiver<EventSeq>) {
        match self {
            Pause::For(time) => tokio::time::sleep(time).await,
            Pause::UntilNews(look) => {
                tokio::time::sleep(look.clamp(BREATH, EVERY)).await;
                // A store that is closed says nothing any more.
                let waited = tokio::time::timeout(EVERY, news.changed()).await;
                if matches!(waited, Ok(Err(_))) {
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
    }
}

/// Takes one turn after the other until the release is at its end or the process is.
async fn carry_out(cloud: &Arc<Cloud>, mut release: Release, stop: Stop) {
    let mut progress = Progress::default();
    let mut failures = 0;
    let mut news = cloud.store.watch();
    while release.is_open() {
        news.borrow_and_update();
        let pause = match Box::pin(Deployment::turn(cloud, &release, &mut progress)).await {
            Ok(()) => {
                failures = 0;
                Pause::UntilNews(progress.look_took)
            }
            Err(error) => {
                let error = report(&error);
                warn!(app = %release.app_name, release = release.number, error, "a step of a release waits");
                failures += 1;
                Pause::For(RETRY.pause(failures))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = pause.over(&mut news) => {}
        }
        match cloud.store.release(release.app_id, release.number).await {
            Ok(found) => release = found,
            // Its app was deleted, or the store is away: the loop looks again.
            Err(error) => {
                error!(app = %release.app_name, release = release.number, error = report(&error), "release cannot be read");
                return;
            }
        }
    }
    // One that was cancelled or superseded leaves its tests to us.
    if let Err(error) = clear(cloud, &release).await {
        warn!(app = %release.app_name, release = release.number, error = report(&error), "tests of a release stay");
    }
}
