use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span};

/// Told to a task when it shall end; cheap to clone.
pub type Stop = CancellationToken;

/// The tasks of one component: stopped together and waited for.
///
/// A task that panics stops the process, because half a supervisor is worse than a restart. A task that serves one
/// connection guards itself with [`TaskSet::spawn_guarded`], which only ends that connection.
#[derive(Debug, Default)]
pub struct TaskSet {
    tasks: Mutex<JoinSet<()>>,
    stop: Stop,
}

impl TaskSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that also stops when `parent` does.
    pub fn under(parent: &Stop) -> Self {
        Self {
            tasks: Mutex::new(JoinSet::new()),
            stop: parent.child_token(),
        }
    }

    /// The token its tasks hold.
    pub fn stop_token(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs `task` until it ends; it must end soon after its token is cancelled.
    pub async fn spawn<F, T>(&self, name: &'static str, task: F)
    where
        F: FnOnce(Stop) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let future = task(self.stop.clone()).instrument(info_span!("task", name));
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.try_join_next() {
            log_panic(ended);
        }
        tasks.spawn(async move {
            let guard = PanicGuard(name);
            future.await;
            std::mem::forget(guard);
        });
    }

    /// Like [`TaskSet::spawn`], for work on behalf of one connection: a panic is logged and ends only that task.
    pub async fn spawn_guarded<F, T>(&self, name: &'static str, task: F)
    where
        F: FnOnce(Stop) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let future = task(self.stop.clone()).instrument(info_span!("task", name));
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.try_join_next() {
            log_panic(ended);
        }
        tasks.spawn(future);
    }

    /// Asks all tasks to end and waits for them, at most `patience`; then aborts the rest. True if all ended in time.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        let drained = tokio::time::timeout(patience, async {
            while tasks.join_next().await.is_some() {}
        })
        .await;
        if drained.is_err() {
            tasks.abort_all();
            while tasks.join_next().await.is_some() {}
        }
        drained.is_ok()
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(error = %error, "a connection task panicked");
    }
}

/// Ends the process when dropped during a panic of a supervised task.
struct PanicGuard(&'static str);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                task = self.0,
                "a supervised task panicked; ending the process so that it is restarted whole"
            );
            std::process::exit(70);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shut_down_waits_for_tasks_and_reports_the_late() {
        let set = TaskSet::new();
        set.spawn("obedient", |stop| async move { stop.cancelled().await })
            .await;
        assert!(set.shut_down(Duration::from_secs(5)).await);

        let set = TaskSet::new();
        set.spawn("deaf", |_| std::future::pending()).await;
        assert!(!set.shut_down(Duration::from_millis(1)).await);
    }
}
