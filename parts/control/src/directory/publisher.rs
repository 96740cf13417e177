use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{ControlStore, Event, EventFilter, StoreError};
use mayfly_edge_api::{Directory, DirectoryApp, DirectoryPeer, SshAuthority};
use mayfly_runtime::{Backoff, Clock, LoopHandle, LoopStatus, Stop, report};
use mayfly_seal::Sealer;
use mayfly_types::{AppId, EventSeq, OrgId, PeerKey};
use tokio::time::Instant;
use tracing::warn;

use super::DirectoryFeed;
use super::certificates::Certificates;

/// Events read at once.
const BATCH: u32 = 1000;

/// Another process may have written to the same database.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Changes that follow each other are written to disk together.
const SNAPSHOT_AFTER: Duration = Duration::from_millis(500);

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    most: Duration::from_secs(5),
};

/// Kinds of events by which an app's entry can change.
const OF_APPS: [&str; 5] = [
    "app.",
    "hostname.",
    "address.",
    "network_policy.",
    "autoscale.rule",
];

/// Kinds of events by which the entries of all apps of an organization can change.
const OF_ORGS: [&str; 1] = ["replay_source."];

/// Kinds of events by which what is served under TLS can change.
const OF_CERTIFICATES: [&str; 3] = ["app.delete", "hostname.", "certificate."];

/// Kinds of events by which users' devices can change.
const OF_PEERS: [&str; 1] = ["wireguard_peer."];
const OF_SSH_AUTHORITIES: &str = "ssh.authority";

/// Keeps the feed in step with the store.
pub(crate) struct Publisher {
    pub(crate) store: ControlStore,
    pub(crate) feed: DirectoryFeed,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: LoopHandle,
}

/// What was read from the store so far.
struct Known {
    /// The log up to here is contained in it.
    after: EventSeq,
    apps: BTreeMap<AppId, Arc<DirectoryApp>>,
    certificates: Certificates,
    peers: Vec<Arc<DirectoryPeer>>,
    ssh_authorities: Vec<SshAuthority>,
}

/// What a stretch of the log asks to be read again.
#[derive(Default)]
struct Touched {
    apps: BTreeSet<AppId>,
    /// All apps of these.
    orgs: BTreeSet<OrgId>,
    /// Whose certificates; `None` is the platform.
    certificates: BTreeSet<Option<AppId>>,
    peers: bool,
    ssh_authorities: bool,
}

impl Touched {
    fn note(&mut self, event: &Event) {
        let is = |kinds: &[&str]| kinds.iter().any(|kind| event.kind.starts_with(kind));
        if is(&OF_CERTIFICATES) {
            self.certificates.insert(event.app);
        }
        self.peers |= is(&OF_PEERS);
        self.ssh_authorities |= event.kind == OF_SSH_AUTHORITIES;
        if let Some(app) = event.app
            && is(&OF_APPS)
        {
            self.apps.insert(app);
        }
        if let Some(org) = event.org
            && is(&OF_ORGS)
        {
            self.orgs.insert(org);
        }
    }

    fn is_empty(&self) -> bool {
        self.apps.is_empty()
            && self.orgs.is_empty()
            && self.certificates.is_empty()
            && !self.peers
            && !self.ssh_authorities
    }
}

impl Publisher {
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.store.watch();
        let mut known = None;
        let mut failures = 0;
        let mut snapshot_at = None;
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.clock.now();
            let turn = self.turn(&mut known).await;
            let mut status = LoopStatus {
                ran_at: Some(began),
                took: self.clock.now().since(began),
                ..LoopStatus::default()
            };
            let pause = match turn {
                Ok(changed) => {
                    failures = 0;
                    status.applied = u64::from(changed);
                    if changed && snapshot_at.is_none() {
                        snapshot_at = Some(Instant::now() + SNAPSHOT_AFTER);
                    }
                    LOOK_AGAIN
                }
                Err(error) => {
                    failures += 1;
                    status.last_error = Some(report(&error));
                    RETRY.pause(failures)
                }
            };
            self.status.publish(status);
            let mut wake = Instant::now() + pause;
            if let Some(at) = snapshot_at {
                if at <= Instant::now() {
                    self.write_snapshot().await;
                    snapshot_at = None;
                    continue;
                }
                wake = wake.min(at);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = news.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        if snapshot_at.is_some() {
            self.write_snapshot().await;
        }
    }

    /// Brings `known` up to date; true if something new was published.
    async fn turn(&self, known: &mut Option<Known>) -> Result<bool, StoreError> {
        match known {
            Some(known) => self.catch_up(known).await,
            None => {
                // The position first: what happens while the rest is read is read once more.
                let after = self.store.newest_event().await?;
                let mut begun = Known {
                    after,
                    apps: self.entries_of_last_value(),
                    certificates: Certificates::begun_with(&self.feed.current()),
                    peers: self.feed.current().peers.clone(),
                    ssh_authorities: self.store.ssh_authorities().await?,
                };
                let apps = self.store.directory_apps().await?;
                begun.apps.retain(|id, _| apps.contains_key(id));
                begun.take_over(apps);
                let all = self.store.served_certificates(None).await?;
                let orders = self.store.shown_orders().await?;
                let now = self.clock.now();
                begun.certificates.replace_all(all, &self.sealer, now);
                begun.certificates.show(&orders);
                begun.take_over_peers(self.store.directory_peers().await?);
                let changed = self.publish(&begun);
                *known = Some(begun);
                Ok(changed)
            }
        }
    }

    async fn catch_up(&self, known: &mut Known) -> Result<bool, StoreError> {
        let mut touched = Touched::default();
        let mut after = known.after;
        loop {
            let events = self
                .store
                .events_after(after, EventFilter::default(), BATCH)
                .await?;
            events.iter().for_each(|event| touched.note(event));
            match events.last() {
                Some(last) => after = last.seq,
                None => break,
            }
        }
        let changed = !touched.is_empty() && {
            for org in &touched.orgs {
                touched.apps.extend(self.store.app_ids_of(*org).await?);
            }
            if touched.ssh_authorities {
                known.ssh_authorities = self.store.ssh_authorities().await?;
            }
            let ids: Vec<AppId> = touched.apps.into_iter().collect();
            let owners: Vec<Option<AppId>> = touched.certificates.into_iter().collect();
            let living = self.store.directory_apps_among(ids.clone()).await?;
            let served = self.store.served_certificates(Some(owners.clone())).await?;
            let orders = self.store.shown_orders().await?;
            for gone in ids.iter().filter(|id| !living.contains_key(id)) {
                known.apps.remove(gone);
            }
            known.take_over(living);
            let now = self.clock.now();
            known
                .certificates
                .replace(&owners, served, &self.sealer, now);
            known.certificates.show(&orders);
            if touched.peers {
                known.take_over_peers(self.store.directory_peers().await?);
            }
            self.publish(known)
        };
        known.after = after;
        Ok(changed)
    }

    /// Entries of an earlier process, for their allocations.
    fn entries_of_last_value(&self) -> BTreeMap<AppId, Arc<DirectoryApp>> {
        let last = self.feed.current();
        let entries = last.apps.iter();
        entries.map(|app| (app.app_id, app.clone())).collect()
    }

    fn publish(&self, known: &Known) -> bool {
        let next = Directory {
            apps: known.apps.values().cloned().collect(),
            certificates: known.certificates.served(),
            challenges: known.certificates.challenges(),
            peers: known.peers.clone(),
            ssh_authorities: known.ssh_authorities.clone(),
        };
        self.feed.value.send_if_modified(|current| {
            let changed = !same(current, &next);
            if changed {
                *current = Arc::new(next);
            }
            changed
        })
    }

    async fn write_snapshot(&self) {
        let (snapshot, directory) = (self.feed.snapshot.clone(), self.feed.current());
        let written = tokio::task::spawn_blocking(move || snapshot.write(&directory)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the snapshot of the directory could not be written"),
            Err(error) => warn!(%error, "writing the snapshot of the directory panicked"),
        }
    }
}

impl Known {
    /// Takes what was read; an entry that says the same as before keeps its allocation.
    fn take_over(&mut self, read: BTreeMap<AppId, DirectoryApp>) {
        for (id, app) in read {
            match self.apps.get(&id) {
                Some(known) if **known == app => {}
                _ => {
                    self.apps.insert(id, Arc::new(app));
                }
            }
        }
    }
}

impl Known {
    fn take_over_peers(&mut self, read: Vec<DirectoryPeer>) {
        let before: BTreeMap<PeerKey, Arc<DirectoryPeer>> = self
            .peers
            .drain(..)
            .map(|peer| (peer.public_key, peer))
            .collect();
        self.peers = read
            .into_iter()
            .map(|peer| match before.get(&peer.public_key) {
                Some(known) if **known == peer => Arc::clone(known),
                _ => Arc::new(peer),
            })
            .collect();
    }
}

/// Whether every part is the same allocation; parts that are equal always are, since they are taken over.
fn same(one: &Directory, other: &Directory) -> bool {
    one.apps.len() == other.apps.len()
        && one
            .apps
            .iter()
            .zip(&other.apps)
            .all(|(a, b)| Arc::ptr_eq(a, b))
        && one.certificates.len() == other.certificates.len()
        && one
            .certificates
            .iter()
            .zip(&other.certificates)
            .all(|(a, b)| Arc::ptr_eq(a, b))
        && one.challenges == other.challenges
        && one.peers == other.peers
        && one.ssh_authorities == other.ssh_authorities
}
