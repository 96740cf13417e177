use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::{
    Challenge, Directory, DirectoryApp, DirectoryPeer, ServerCertificate, SshAuthority,
};
use mayfly_fleet_api::{Call, CallError, FeedMessage, Hello, Roster};
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_seal::write_private;
use mayfly_types::AppId;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::link::{Link, LinkError};

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    most: Duration::from_secs(3),
};
const FILE: &str = "roster.json";

/// Where what the control plane publishes goes.
pub trait Published: Send + Sync + 'static {
    fn current(&self) -> Arc<Directory>;

    /// Replaces the directory; parts that did not change are the same allocations as in [`Published::current`].
    fn replace(&self, directory: Directory);
}

/// What the control plane thinks of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// Its operator took it out of the fleet.
    Removed,
}

/// Follows the control plane: roster and directory, as last heard when it is away.
pub struct Follower {
    link: Link,
    hello: Hello,
    published: Arc<dyn Published>,
    roster: watch::Sender<Arc<Roster>>,
    standing: watch::Sender<Standing>,
    file: PathBuf,
}

impl Follower {
    /// Begins with the roster that was kept in `directory`.
    pub fn open(directory: &Path, link: Link, hello: Hello, published: Arc<dyn Published>) -> Self {
        let file = directory.join(FILE);
        let kept = fs::read(&file).ok();
        let roster = kept.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            link,
            hello,
            published,
            roster: watch::Sender::new(Arc::new(roster.unwrap_or_default())),
            standing: watch::Sender::new(Standing::Member),
            file,
        }
    }

    pub fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub async fn run(self, stop: Stop) {
        let mut failures = 0;
        loop {
            let mut heard = false;
            let followed = stop.run_until_cancelled(self.follow(&mut heard)).await;
            let Some(Err(error)) = followed else { return };
            if heard {
                failures = 0;
            }
            if failures == 0 {
                warn!(
                    error = report(&error),
                    "control plane not heard; what it said last holds"
                );
            }
            if matches!(error, LinkError::Refused(CallError::Removed)) {
                self.standing.send_replace(Standing::Removed);
                // Whoever is removed is of no fleet.
                self.take_roster(Roster::default());
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY.pause(failures)) => {}
            }
            failures += 1;
        }
    }

    async fn follow(&self, heard: &mut bool) -> Result<std::convert::Infallible, LinkError> {
        let mut line = self
            .link
            .stream(&Call::Feed(Box::new(self.hello.clone())))
            .await?;
        self.standing.send_replace(Standing::Member);
        let mut draft = Draft::of(self.published.current());
        loop {
            let next = line.reader.expect_soon().await;
            let message = next.and_then(|frame| frame.message());
            match message.map_err(|error| self.link.unreachable(error))? {
                FeedMessage::Roster(roster) => self.take_roster(roster),
                FeedMessage::Begin => draft.begin(),
                FeedMessage::Apps { changed, removed } => draft.apps(changed, &removed),
                FeedMessage::Certificates {
                    certificates,
                    challenges,
                } => draft.certificates(certificates, challenges),
                FeedMessage::Peers(peers) => draft.peers(peers),
                FeedMessage::SshAuthorities(authorities) => {
                    draft.ssh_authorities = authorities;
                    draft.changed = true;
                }
                FeedMessage::Current => {
                    if !*heard {
                        info!("control plane heard");
                        *heard = true;
                    }
                    if let Some(directory) = draft.finish() {
                        self.published.replace(directory);
                    }
                }
                FeedMessage::Alive => {}
            }
        }
    }

    fn take_roster(&self, roster: Roster) {
        let changed = self.roster.send_if_modified(|current| {
            let changed = **current != roster;
            if changed {
                *current = Arc::new(roster);
            }
            changed
        });
        if changed && let Err(error) = self.keep_roster() {
            warn!(path = %self.file.display(), %error, "roster not written");
        }
    }

    fn keep_roster(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&**self.roster.borrow())?;
        write_private(&self.file, &text)
    }
}

/// A directory being put together; entries that say the same keep their allocation.
struct Draft {
    /// What was known when the connection was made.
    origin: Arc<Directory>,
    apps: BTreeMap<AppId, Arc<DirectoryApp>>,
    certificates: Vec<Arc<ServerCertificate>>,
    challenges: Vec<Challenge>,
    peers: Vec<Arc<DirectoryPeer>>,
    ssh_authorities: Vec<SshAuthority>,
    /// What a new whole named so far.
    named: Option<BTreeMap<AppId, Arc<DirectoryApp>>>,
    changed: bool,
}

impl Draft {
    fn of(directory: Arc<Directory>) -> Self {
        let apps = directory.apps.iter();
        Self {
            apps: apps.map(|app| (app.app_id, app.clone())).collect(),
            certificates: directory.certificates.clone(),
            challenges: directory.challenges.clone(),
            peers: directory.peers.clone(),
            ssh_authorities: directory.ssh_authorities.clone(),
            named: None,
            changed: false,
            origin: directory.clone(),
        }
    }

    fn begin(&mut self) {
        self.named = Some(BTreeMap::new());
        // A whole without any of these does not name them.
        self.certificates(Vec::new(), Vec::new());
        self.peers(Vec::new());
        self.ssh_authorities.clear();
    }

    fn apps(&mut self, changed: Vec<Arc<DirectoryApp>>, removed: &[AppId]) {
        self.changed = true;
        for app in changed {
            let known = self.apps.get(&app.app_id).filter(|known| ***known == *app);
            let entry = known.cloned().unwrap_or(app);
            let target = self.named.as_mut().unwrap_or(&mut self.apps);
            target.insert(entry.app_id, entry);
        }
        for gone in removed {
            self.apps.remove(gone);
        }
    }

    fn certificates(
        &mut self,
        certificates: Vec<Arc<ServerCertificate>>,
        challenges: Vec<Challenge>,
    ) {
        self.changed = true;
        let keep = |new: Arc<ServerCertificate>| {
            let origin = self.origin.certificates.iter();
            let mut known = self.certificates.iter().chain(origin);
            let known = known.find(|known| ***known == *new);
            known.cloned().unwrap_or(new)
        };
        self.certificates = certificates.into_iter().map(keep).collect();
        self.challenges = challenges;
    }

    fn peers(&mut self, peers: Vec<Arc<DirectoryPeer>>) {
        self.changed = true;
        let keep = |new: Arc<DirectoryPeer>| {
            let mut known = self.peers.iter().chain(&self.origin.peers);
            let known = known.find(|known| ***known == *new);
            known.cloned().unwrap_or(new)
        };
        self.peers = peers.into_iter().map(keep).collect();
    }

    /// The whole, if anything changed since the last one.
    fn finish(&mut self) -> Option<Directory> {
        if let Some(named) = self.named.take() {
            self.apps = named;
            self.changed = true;
        }
        std::mem::take(&mut self.changed).then(|| Directory {
            apps: self.apps.values().cloned().collect(),
            certificates: self.certificates.clone(),
            challenges: self.challenges.clone(),
            peers: self.peers.clone(),
            ssh_authorities: self.ssh_authorities.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: u8, name: &str) -> Arc<DirectoryApp> {
        Arc::new(DirectoryApp {
            app_id: AppId::from_random([id; 16]),
            name: name.parse().unwrap(),
            org_id: mayfly_types::OrgId::from_random([1; 16]),
            network: mayfly_types::NetworkId(1),
            hostnames: Vec::new(),
            addresses: Vec::new(),
            replay_sources: Vec::new(),
            egress: Vec::new(),
            policies: Vec::new(),
            autoscaled: false,
        })
    }

    #[test]
    fn a_whole_replaces_and_equal_entries_stay_what_they_are() {
        let (one, two) = (app(1, "one"), app(2, "two"));
        let mut draft = Draft::of(Arc::new(Directory {
            apps: vec![one.clone(), two],
            ..Directory::default()
        }));
        assert_eq!(draft.finish(), None);
        draft.begin();
        draft.apps(vec![app(1, "one"), app(3, "three")], &[]);
        let whole = draft.finish().unwrap();
        let names: Vec<&str> = whole.apps.iter().map(|app| app.name.as_str()).collect();
        assert_eq!(names, ["one", "three"]);
        assert!(Arc::ptr_eq(&whole.apps[0], &one));
        draft.apps(Vec::new(), &[one.app_id]);
        assert_eq!(draft.finish().unwrap().apps.len(), 1);
    }
}
