use std::any::Any;
use std::future::Future;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span, error, info_span};

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
        tasks.spawn(Supervised {
            name,
            future: Box::pin(future),
        });
    }

    /// Like [`TaskSet::spawn`], for work on behalf of one connection: a panic is logged and ends only that task.
    pub async fn spawn_guarded<F, T>(&self, name: &'static str, task: F)
    where
        F: FnOnce(Stop) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        // Shown from `debug` on only: a span is entered at each wake-up, and a busy edge has a hundred thousand a second.
        let future = task(self.stop.clone()).instrument(debug_span!("task", name));
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

/// A task whose own panic ends the process.
///
/// Only a panic out of its `poll` counts. A runtime that is dropped while its thread unwinds for another reason, as a
/// failed test does, drops its tasks too, and that says nothing about them.
struct Supervised<T> {
    name: &'static str,
    future: Pin<Box<T>>,
}

impl<T: Future<Output = ()>> Future for Supervised<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(polled) => polled,
            Err(panic) => end_process(self.name, &*panic),
        }
    }
}

/// Says why and exits with status 70.
fn end_process(name: &str, panic: &(dyn Any + Send)) -> ! {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    error!(
        task = name,
        message, "a supervised task panicked; ending the process so that it is restarted whole"
    );
    // Under a test harness neither that line nor the panic's own is seen: the one has no subscriber, the other is
    // kept for the end of a test that this process does not reach.
    let _ = writeln!(io::stderr(), "the task {name} panicked: {message}");
    std::process::exit(70);
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

    #[test]
    fn a_failed_test_ends_itself_and_not_the_process() {
        let failed = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime without I/O");
            runtime.block_on(async {
                let set = TaskSet::new();
                set.spawn("waiting", |_| std::future::pending()).await;
                tokio::task::yield_now().await;
                std::panic::resume_unwind(Box::new("an assertion"));
            });
        })
        .join();
        assert!(failed.is_err());
    }

    /// Runs itself once more as a process of its own, which the panic ends.
    #[test]
    fn a_panic_of_a_task_ends_the_process_and_says_why() {
        const CHILD: &str = "MAYFLY_TASK_SET_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime without I/O");
            runtime.block_on(async {
                let set = TaskSet::new();
                set.spawn("broken", |_| async { panic!("a broken promise") })
                    .await;
                std::future::pending::<()>().await;
            });
        }
        let child = std::process::Command::new(std::env::current_exe().expect("a test binary"))
            .args([
                "--exact",
                "task_set::tests::a_panic_of_a_task_ends_the_process_and_says_why",
            ])
            .env(CHILD, "1")
            .output()
            .expect("the test binary runs again");
        assert_eq!(child.status.code(), Some(70));
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(
            said.contains("the task broken panicked: a broken promise"),
            "{said}"
        );
    }
}
