//! Limits of what one client may ask of one app; off unless configured.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mayfly_types::AppId;

/// Locks that share the clients, so that cores rarely meet.
const SHARDS: usize = 16;
/// Clients of one shard above which those that used nothing lately are forgotten.
const CLIENTS_MAX: usize = 4096;

/// Limits by app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of apps that are not in `apps`.
    pub default: Limit,
    /// By app name.
    pub apps: HashMap<String, Limit>,
}

/// What one client address may ask of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Requests per second in the long run, and at once at most as many; `None` means no limit.
    pub requests_per_second: Option<u32>,
    /// Connections that are open at once; `None` means no limit.
    pub connections: Option<u32>,
}

/// Tokens that come back with time; a request takes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    tokens: f64,
    at_ms: i64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: u32, now_ms: i64) -> Bucket {
        Bucket {
            tokens: f64::from(rate),
            at_ms: now_ms,
        }
    }

    /// Takes a token, or says in how many seconds there will be one.
    pub(crate) fn take(&mut self, rate: u32, now_ms: i64) -> Result<(), u32> {
        let rate = f64::from(rate.max(1));
        let passed = f64::from(u32::try_from(now_ms - self.at_ms).unwrap_or(0));
        // A clock that was set back gives nothing.
        self.at_ms = self.at_ms.max(now_ms);
        self.tokens = (self.tokens + passed * rate / 1000.0).min(rate);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 1
        let seconds = ((1.0 - self.tokens) / rate).ceil() as u32;
        Err(seconds.max(1))
    }
}

/// What one client has used of one app.
#[derive(Debug)]
struct Client {
    bucket: Mutex<Bucket>,
    connections: AtomicU32,
}

/// By app and address.
type Shard = HashMap<(AppId, IpAddr), Arc<Client>>;

/// The clients of all apps that have limits, shared by all cores.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    off: bool,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// Where a connection's requests to one app are counted, found once; and the connection itself, if those are limited,
/// until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    key: (AppId, IpAddr),
    limit: Limit,
    client: Arc<Client>,
}

/// What a client has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Requests { retry_after_s: u32 },
    Connections,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Meter {
        let off = limits
            .apps
            .values()
            .chain([&limits.default])
            .all(|limit| *limit == Limit::default());
        Meter {
            limits,
            off,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    fn limit(&self, app: &str) -> Limit {
        *self.limits.apps.get(app).unwrap_or(&self.limits.default)
    }

    /// Whether nothing is limited.
    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    /// Counts a request. A connection asks for a slot at its first request to an app, with `slot` holding the last.
    pub(crate) fn admit(
        &self,
        app: (AppId, &str),
        client: IpAddr,
        now_ms: i64,
        slot: &mut Option<Slot>,
    ) -> Result<(), Excess> {
        let key = (app.0, client.to_canonical());
        if let Some(slot) = slot.as_ref().filter(|slot| slot.key == key) {
            return slot.client.take(slot.limit, now_ms);
        }
        let limit = self.limit(app.1);
        if limit == Limit::default() {
            return Ok(());
        }
        let client = self.client(key, limit, now_ms);
        client.enter(limit)?;
        let slot = slot.insert(Slot { key, limit, client });
        slot.client.take(limit, now_ms)
    }

    /// The client as it is known, or as a new one.
    fn client(&self, key: (AppId, IpAddr), limit: Limit, now_ms: i64) -> Arc<Client> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        let mut clients = self.shards[index]
            .lock()
            .expect("no holder of this lock panics");
        if clients.len() >= CLIENTS_MAX {
            let stale = now_ms - 2_000;
            // Those with a connection have a slot that holds them.
            clients
                .retain(|_, client| Arc::strong_count(client) > 1 || client.bucket().at_ms > stale);
        }
        let rate = limit.requests_per_second.unwrap_or(u32::MAX);
        let client = clients.entry(key).or_insert_with(|| {
            Arc::new(Client {
                bucket: Mutex::new(Bucket::new(rate, now_ms)),
                connections: AtomicU32::new(0),
            })
        });
        Arc::clone(client)
    }
}

impl Client {
    fn take(&self, limit: Limit, now_ms: i64) -> Result<(), Excess> {
        let Some(rate) = limit.requests_per_second else {
            return Ok(());
        };
        self.bucket()
            .take(rate, now_ms)
            .map_err(|retry_after_s| Excess::Requests { retry_after_s })
    }

    /// Counts a connection, to be taken back when its slot is dropped.
    fn enter(&self, limit: Limit) -> Result<(), Excess> {
        let most = limit.connections.unwrap_or(u32::MAX);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .map(drop)
            .map_err(|_| Excess::Connections)
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.client.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let mut bucket = Bucket::new(10, 0);
        for turn in 0..10 {
            assert_eq!(bucket.take(10, 0), Ok(()), "{turn}");
        }
        assert_eq!(bucket.take(10, 0), Err(1));
        assert_eq!(bucket.take(10, 99), Err(1));
        assert_eq!(bucket.take(10, 100), Ok(()));
        assert_eq!(
            bucket.take(10, -5_000),
            Err(1),
            "a clock set back gives nothing"
        );
        for turn in 0..10 {
            assert_eq!(bucket.take(10, 1_000_000), Ok(()), "{turn}");
        }
        assert_eq!(
            bucket.take(10, 1_000_000),
            Err(1),
            "what was unused does not add up"
        );
    }

    proptest::proptest! {
        #[test]
        fn in_any_span_at_most_burst_and_rate_pass(steps in proptest::collection::vec(0i64..300, 1..200), rate in 1u32..50) {
            let (mut bucket, mut now, mut passed) = (Bucket::new(rate, 0), 0, 0u32);
            for step in steps {
                now += step;
                passed += u32::from(bucket.take(rate, now).is_ok());
            }
            let most = f64::from(rate) * (1.0 + now as f64 / 1000.0) + 1e-6;
            proptest::prop_assert!(f64::from(passed) <= most);
        }
    }

    #[test]
    fn clients_and_apps_do_not_share() {
        let limit = Limit {
            requests_per_second: Some(1),
            connections: Some(1),
        };
        let meter = Arc::new(Meter::new(Limits {
            apps: [("web".to_owned(), limit)].into(),
            ..Limits::default()
        }));
        let (web, other) = (AppId::from_random([1; 16]), AppId::from_random([2; 16]));
        let (alice, bob): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut first = None;
        assert_eq!(meter.admit((web, "web"), alice, 0, &mut first), Ok(()));
        assert_eq!(
            meter.admit((web, "web"), alice, 0, &mut first),
            Err(Excess::Requests { retry_after_s: 1 })
        );
        assert_eq!(meter.admit((web, "web"), bob, 0, &mut None), Ok(()));
        for _ in 0..5 {
            assert_eq!(meter.admit((other, "other"), alice, 0, &mut None), Ok(()));
        }
        let mut second = None;
        let second_try = meter.admit((web, "web"), alice, 5_000, &mut second);
        assert_eq!(second_try, Err(Excess::Connections));
        drop(first);
        assert_eq!(meter.admit((web, "web"), alice, 5_000, &mut second), Ok(()));
    }
}
