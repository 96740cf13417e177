//! Remembered replays: by path, as an app's answers ask, and by session, as its service's options say.
//!
//! Source: <https://fly.io/docs/networking/dynamic-request-routing/#replay-caching>. Remembering is never a promise:
//! what is too much is forgotten, and the app is asked again.

mod memory;
mod session;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mayfly_machine::ReplayCacheRule;
use mayfly_routing::{CacheOrder, Replay, UrlPattern};
use mayfly_types::{AppId, MachineId};
use tokio::time::Instant;

use crate::http::RequestHead;
use memory::Memory;
use session::Session;

/// Apps are spread over locks, so that cores seldom meet at one.
const SHARDS: usize = 16;
/// Entries of one shard; an entry takes some 300 bytes.
const ENTRIES_MAX: usize = 4 * 1024;
/// Of these, entries of one app: no app can make the others forget.
const APP_ENTRIES_MAX: usize = 1024;

/// The replays remembered on this server, shared by all cores.
pub(crate) struct ReplayCache {
    shards: [Mutex<Memory>; SHARDS],
    /// While nothing is remembered, a request costs one load.
    count: AtomicUsize,
}

/// What of a request decides whether a replay is remembered for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Lower case, without port.
    pub(crate) host: &'a str,
    /// Without query.
    pub(crate) path: &'a str,
    pub(crate) fields: &'a dyn Fields,
}

/// A request's header fields.
pub(crate) trait Fields: std::fmt::Debug + Sync {
    /// Calls `see` with every value of the field called `name`, lower case, until it returns false.
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8]) -> bool);
}

impl Fields for RequestHead {
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8]) -> bool) {
        for (_, own, value) in self.fields() {
            if own.eq_ignore_ascii_case(name.as_bytes()) && !see(value) {
                return;
            }
        }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn of(head: &'a RequestHead) -> Request<'a> {
        Request {
            host: head.host(),
            path: head.path(),
            fields: head,
        }
    }
}

/// A replay that goes on without asking the app that ordered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Cannot hold anything that [`Replay::uncacheable`] names.
    pub(crate) replay: Replay,
    /// The machine that ordered it, which `elsewhere` excludes.
    pub(crate) source: MachineId,
    key: Key,
}

/// What is found for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The app is asked.
    Miss,
    /// The app is asked because the client wants so and may.
    Bypass,
    Hit(Box<Remembered>),
}

/// How a replayed request came to its target, as `fly-replay-cache-status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    Miss,
    Hit,
    Bypass,
}

impl CacheStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CacheStatus::Miss => "miss",
            CacheStatus::Hit => "hit",
            CacheStatus::Bypass => "bypass",
        }
    }
}

/// Where a replay is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Host and path in one, without `/` at the end.
    Url(String),
    Session(Session),
}

impl Default for ReplayCache {
    fn default() -> Self {
        ReplayCache {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        }
    }
}

impl ReplayCache {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// What is remembered for a request to `app`, whose service has session `rules`. The longest path wins, a path
    /// over a session.
    pub(crate) fn look_up(
        &self,
        app: AppId,
        rules: &[ReplayCacheRule],
        request: Request<'_>,
        now: Instant,
    ) -> Lookup {
        if self.is_empty() {
            return Lookup::Miss;
        }
        let skips = skips(request.fields);
        let session = Session::of(rules, request);
        let mut memory = self.shard(app);
        let mut url = String::with_capacity(request.host.len() + request.path.len());
        url.push_str(request.host);
        url.push_str(request.path.trim_end_matches('/'));
        let key = loop {
            if let Some(entry) = memory.get(app, &Key::Url(url.clone()), now) {
                break entry;
            }
            match url.rfind('/') {
                Some(slash) if slash >= request.host.len() => url.truncate(slash),
                _ => {
                    let Some((session, rule)) = session else {
                        return Lookup::Miss;
                    };
                    if skips && rule.allow_bypass {
                        return Lookup::Bypass;
                    }
                    match memory.get(app, &Key::Session(session), now) {
                        Some(entry) => break entry,
                        None => return Lookup::Miss,
                    }
                }
            }
        };
        if skips && key.allow_bypass {
            return Lookup::Bypass;
        }
        Lookup::Hit(Box::new(key.remembered.clone()))
    }

    /// Does what a replay ordered by machine `source` of `app` for this request says about remembering it, and what
    /// the service's session `rules` say.
    ///
    /// # Errors
    /// Why an order to remember cannot be obeyed; the replay itself goes on.
    pub(crate) fn learn(
        &self,
        app: AppId,
        rules: &[ReplayCacheRule],
        request: Request<'_>,
        replay: &Replay,
        source: MachineId,
        now: Instant,
    ) -> Result<(), mayfly_routing::InvalidReplay> {
        match &replay.cache {
            Err(invalid) => return Err(invalid.clone()),
            Ok(Some(CacheOrder::Invalidate)) => {
                self.invalidate(app, rules, request);
                return Ok(());
            }
            Ok(Some(CacheOrder::Keep(rule))) => {
                if !rule.pattern.matches(request.host, request.path) {
                    return Err(mayfly_routing::InvalidReplay::CacheElsewhere);
                }
                let key = url_key(&rule.pattern, request.host);
                self.keep(app, key, rule.ttl, rule.allow_bypass, replay, source, now);
            }
            Ok(None) => {}
        }
        if replay.uncacheable().is_none()
            && let Some((session, rule)) = Session::of(rules, request)
        {
            let key = Key::Session(session);
            self.keep(app, key, rule.ttl, rule.allow_bypass, replay, source, now);
        }
        Ok(())
    }

    /// Forgets what would be found for a request to `app`.
    pub(crate) fn invalidate(&self, app: AppId, rules: &[ReplayCacheRule], request: Request<'_>) {
        let mut url = String::new();
        url.push_str(request.host);
        url.push_str(request.path.trim_end_matches('/'));
        let mut memory = self.shard(app);
        let before = memory.len();
        loop {
            memory.remove(app, &Key::Url(url.clone()));
            match url.rfind('/') {
                Some(slash) if slash >= request.host.len() => url.truncate(slash),
                _ => break,
            }
        }
        if let Some((session, _)) = Session::of(rules, request) {
            memory.remove(app, &Key::Session(session));
        }
        self.count
            .fetch_sub(before - memory.len(), Ordering::Relaxed);
    }

    /// Forgets a replay whose target did not answer: the app knows better.
    pub(crate) fn forget(&self, app: AppId, remembered: &Remembered) {
        let mut memory = self.shard(app);
        let before = memory.len();
        memory.remove(app, &remembered.key);
        self.count
            .fetch_sub(before - memory.len(), Ordering::Relaxed);
    }

    #[allow(clippy::too_many_arguments)] // each of them is one word of the entry
    fn keep(
        &self,
        app: AppId,
        key: Key,
        ttl: Duration,
        allow_bypass: bool,
        replay: &Replay,
        source: MachineId,
        now: Instant,
    ) {
        let remembered = Remembered {
            replay: Replay {
                cache: Ok(None),
                ..replay.clone()
            },
            source,
            key: key.clone(),
        };
        let entry = memory::Entry {
            remembered,
            allow_bypass,
            until: now + ttl,
        };
        let mut memory = self.shard(app);
        let before = memory.len();
        memory.insert(app, key, entry, now);
        let after = memory.len();
        if after >= before {
            self.count.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.count.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn shard(&self, app: AppId) -> std::sync::MutexGuard<'_, Memory> {
        let first = app.as_str().bytes().last().unwrap_or_default();
        self.shards[usize::from(first) % SHARDS]
            .lock()
            .expect("no holder of this lock panics")
    }
}

impl std::fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayCache")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

fn url_key(pattern: &UrlPattern, host: &str) -> Key {
    let host = pattern.host.as_deref().unwrap_or(host);
    Key::Url(format!("{host}{}", pattern.path))
}

/// Whether the client asks for the app itself.
fn skips(fields: &dyn Fields) -> bool {
    let mut skips = false;
    fields.each("fly-replay-cache-control", &mut |value| {
        skips = value.trim_ascii().eq_ignore_ascii_case(b"skip");
        !skips
    });
    skips
}

#[cfg(test)]
mod tests;
