use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mayfly_fleet_api::{Roster, RosterHost, RosterServer, server_name};
use mayfly_net::MutualTls;
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::HostId;
use tokio::sync::watch;

use crate::link::Link;
use crate::remote::RemoteHost;

const FAREWELL: Duration = Duration::from_secs(2);

/// The hosts of the other servers, each once for everybody in this process who wants it. Clones share them.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    tls: Arc<MutualTls>,
    /// This server.
    own: HostId,
    known: Mutex<BTreeMap<HostId, Known>>,
    list: watch::Sender<Vec<RemoteHost>>,
}

struct Known {
    server: HostId,
    link: Link,
    host: RemoteHost,
}

impl Peers {
    pub fn new(tls: Arc<MutualTls>, own: HostId) -> Self {
        Self(Arc::new(Inner {
            tls,
            own,
            known: Mutex::default(),
            list: watch::Sender::default(),
        }))
    }

    /// The host, as far as the roster has it on another server.
    pub fn find(&self, id: HostId) -> Option<RemoteHost> {
        self.known().get(&id).map(|known| known.host.clone())
    }

    /// All hosts of other servers, and every later change of which there are.
    pub fn watch(&self) -> watch::Receiver<Vec<RemoteHost>> {
        self.0.list.subscribe()
    }

    /// One link to each other server.
    pub fn links(&self) -> Vec<Link> {
        let known = self.known();
        let servers: BTreeMap<HostId, Link> = known
            .values()
            .map(|known| (known.server, known.link.clone()))
            .collect();
        servers.into_values().collect()
    }

    /// The host, which is made known if it is not; its server's address is taken over.
    pub fn meet(&self, server: &RosterServer, host: &RosterHost) -> RemoteHost {
        let mut known = self.known();
        let found = self.meet_in(&mut known, server, host);
        self.publish(&known);
        found
    }

    /// Takes over who is in the fleet.
    pub fn apply(&self, roster: &Roster) {
        let mut known = self.known();
        known.retain(|id, _| {
            roster
                .server_of(*id)
                .is_some_and(|server| server.id != self.0.own)
        });
        for server in roster
            .servers
            .iter()
            .filter(|server| server.id != self.0.own)
        {
            for host in &server.hosts {
                self.meet_in(&mut known, server, host);
            }
        }
        self.publish(&known);
    }

    /// Follows the roster, and every host in it, until told to stop.
    pub async fn run(self, mut roster: watch::Receiver<Arc<Roster>>, stop: Stop) {
        let tasks = TaskSet::under(&stop);
        let mut list = self.watch();
        let mut followed: BTreeMap<HostId, Stop> = BTreeMap::new();
        loop {
            let now = roster.borrow_and_update().clone();
            self.apply(&now);
            let hosts = list.borrow_and_update().clone();
            followed.retain(|id, stop| {
                let stays = hosts.iter().any(|host| host.id() == *id);
                if !stays {
                    stop.cancel();
                }
                stays
            });
            for host in hosts {
                if followed.contains_key(&host.id()) {
                    continue;
                }
                let own = stop.child_token();
                followed.insert(host.id(), own.clone());
                tasks
                    .spawn("fleet.host", |_| async move { host.run(own).await })
                    .await;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = roster.changed() => if changed.is_err() { break },
                changed = list.changed() => if changed.is_err() { break },
            }
        }
        stop.cancelled().await;
        tasks.shut_down(FAREWELL).await;
    }

    fn meet_in(
        &self,
        known: &mut BTreeMap<HostId, Known>,
        server: &RosterServer,
        host: &RosterHost,
    ) -> RemoteHost {
        if let Some(found) = known.get(&host.id) {
            found.link.moved(&server.address);
            return found.host.clone();
        }
        // Hosts of one server share its link.
        let of_server = known.values().find(|other| other.server == server.id);
        let link = of_server
            .map(|other| other.link.clone())
            .unwrap_or_else(|| {
                let name = server_name(server.id);
                Link::new(self.0.tls.clone(), name, server.address.clone())
            });
        let remote = RemoteHost::new(link.clone(), host);
        let entry = Known {
            server: server.id,
            link,
            host: remote.clone(),
        };
        known.insert(host.id, entry);
        remote
    }

    fn publish(&self, known: &BTreeMap<HostId, Known>) {
        let ids: Vec<HostId> = known.keys().copied().collect();
        self.0.list.send_if_modified(|list| {
            let same = list.iter().map(RemoteHost::id).eq(ids.iter().copied());
            if !same {
                *list = known.values().map(|known| known.host.clone()).collect();
            }
            !same
        });
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<HostId, Known>> {
        self.0.known.lock().expect("no holder of this lock panics")
    }
}
