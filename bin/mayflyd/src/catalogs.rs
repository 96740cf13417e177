use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_fleet::{Peers, RemoteHost};
use mayfly_host_api::{Catalog, HostApi};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::HostId;
use tokio::sync::watch;

const FAREWELL: Duration = Duration::from_secs(2);

/// The catalogs of all hosts: this server's as one with those of others, and those of others host by host.
pub(crate) struct Catalogs {
    own: Vec<watch::Receiver<Catalog>>,
    peers: Option<Peers>,
    shared: Arc<Shared>,
}

struct Shared {
    own: Vec<watch::Receiver<Catalog>>,
    whole: watch::Sender<Catalog>,
    others: watch::Sender<BTreeMap<HostId, Catalog>>,
}

impl Catalogs {
    /// Without `peers` there is only this server.
    pub(crate) fn of(own: Vec<watch::Receiver<Catalog>>, peers: Option<Peers>) -> Self {
        let shared = Shared {
            own: own.clone(),
            whole: watch::Sender::default(),
            others: watch::Sender::default(),
        };
        shared.join();
        Self {
            own,
            peers,
            shared: Arc::new(shared),
        }
    }

    /// The machines of all hosts, now and at every change.
    pub(crate) fn whole(&self) -> watch::Receiver<Catalog> {
        self.shared.whole.subscribe()
    }

    /// The machines of the hosts of other servers.
    pub(crate) fn others(&self) -> watch::Receiver<BTreeMap<HostId, Catalog>> {
        self.shared.others.subscribe()
    }

    /// Follows all hosts there are and come to be. What a host that is away said last stays; one that left is gone.
    pub(crate) async fn spawn(self, tasks: &TaskSet) {
        for mut part in self.own {
            let shared = self.shared.clone();
            tasks
                .spawn("catalogs", |stop| async move {
                    let follow = async {
                        while part.changed().await.is_ok() {
                            shared.join();
                        }
                    };
                    stop.run_until_cancelled(follow).await;
                })
                .await;
        }
        if let Some(peers) = self.peers {
            let shared = self.shared;
            tasks
                .spawn("catalogs.others", |stop| follow_others(peers, shared, stop))
                .await;
        }
    }
}

impl Shared {
    /// Under the lock, so that of two changes at once the later sees both. Entries stay the allocations their hosts made.
    fn join(&self) {
        self.whole.send_modify(|whole| {
            let others = self.others.borrow();
            if let ([only], true) = (self.own.as_slice(), others.is_empty()) {
                *whole = only.borrow().clone();
                return;
            }
            let own = self.own.iter().map(|part| part.borrow().clone());
            let parts: Vec<Catalog> = own.chain(others.values().cloned()).collect();
            let entries = parts.iter().flat_map(|part| part.iter().cloned());
            *whole = Arc::new(entries.collect());
        });
    }

    /// Looks at `stop` under the lock: what was taken away is not put back.
    fn put(&self, host: HostId, catalog: Catalog, stop: &Stop) {
        self.others.send_if_modified(|others| {
            let stays = !stop.is_cancelled();
            if stays {
                others.insert(host, catalog);
            }
            stays
        });
        self.join();
    }
}

async fn follow_others(peers: Peers, shared: Arc<Shared>, stop: Stop) {
    let tasks = TaskSet::under(&stop);
    let mut list = peers.watch();
    let mut followed: BTreeMap<HostId, Stop> = BTreeMap::new();
    loop {
        let hosts = list.borrow_and_update().clone();
        let is_there = |id: &HostId| hosts.iter().any(|host| host.id() == *id);
        followed.retain(|id, own| {
            if !is_there(id) {
                own.cancel();
            }
            is_there(id)
        });
        let gone = shared.others.send_if_modified(|others| {
            let before = others.len();
            others.retain(|id, _| is_there(id));
            others.len() != before
        });
        if gone {
            shared.join();
        }
        for host in &hosts {
            if followed.contains_key(&host.id()) {
                continue;
            }
            let own = stop.child_token();
            followed.insert(host.id(), own.clone());
            let (host, shared) = (host.clone(), shared.clone());
            tasks
                .spawn("catalogs.other", |_| follow_one(host, shared, own))
                .await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = list.changed() => if changed.is_err() { break },
        }
    }
    tasks.shut_down(FAREWELL).await;
}

async fn follow_one(host: RemoteHost, shared: Arc<Shared>, stop: Stop) {
    let mut catalog = host.catalog();
    loop {
        let now = catalog.borrow_and_update().clone();
        shared.put(host.id(), now, &stop);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = catalog.changed() => if changed.is_err() { return },
        }
    }
}
