use std::sync::Arc;

use mayfly_host_api::Catalog;
use mayfly_runtime::TaskSet;
use tokio::sync::watch;

/// The catalogs of several hosts as one, for edges that send requests to the machines of all.
pub(crate) struct Catalogs {
    parts: Vec<watch::Receiver<Catalog>>,
    whole: watch::Sender<Catalog>,
}

impl Catalogs {
    pub(crate) fn of(parts: Vec<watch::Receiver<Catalog>>) -> Self {
        let whole = watch::Sender::new(join(&parts));
        Self { parts, whole }
    }

    /// The current whole and every later one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Catalog> {
        self.whole.subscribe()
    }

    /// Publishes a new whole whenever a part changes. What a host that ended said last stays.
    pub(crate) async fn spawn(self, tasks: &TaskSet) {
        for part in &self.parts {
            let (mut part, parts) = (part.clone(), self.parts.clone());
            let whole = self.whole.clone();
            tasks
                .spawn("catalogs", |stop| async move {
                    let follow = async {
                        while part.changed().await.is_ok() {
                            // Under the lock, so that of two changes at once the later sees both.
                            whole.send_modify(|whole| *whole = join(&parts));
                        }
                    };
                    stop.run_until_cancelled(follow).await;
                })
                .await;
        }
    }
}

/// Entries stay the allocations their hosts made.
fn join(parts: &[watch::Receiver<Catalog>]) -> Catalog {
    if let [only] = parts {
        return only.borrow().clone();
    }
    let entries = parts.iter().map(|part| part.borrow().to_vec());
    Arc::new(entries.collect::<Vec<_>>().concat())
}
