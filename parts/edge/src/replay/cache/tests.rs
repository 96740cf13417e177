use mayfly_machine::ReplayCacheKey;
use mayfly_routing::ReplayHeaders;

use super::*;

#[derive(Debug, Default)]
struct Lines(Vec<(&'static str, String)>);

impl Fields for Lines {
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8]) -> bool) {
        for (own, value) in &self.0 {
            if *own == name && !see(value.as_bytes()) {
                return;
            }
        }
    }
}

fn lines(lines: &[(&'static str, &str)]) -> Lines {
    Lines(
        lines
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
    )
}

fn to<'a>(host: &'a str, path: &'a str, fields: &'a Lines) -> Request<'a> {
    Request { host, path, fields }
}

fn replay(text: &str, cache: Option<&str>, bypass: Option<&str>) -> Replay {
    ReplayHeaders {
        replay: vec![text.as_bytes()],
        cache: cache.map(str::as_bytes),
        cache_ttl: Some(b"60"),
        cache_allow_bypass: bypass.map(str::as_bytes),
    }
    .parse()
    .unwrap()
}

fn app(number: u8) -> AppId {
    AppId::from_random([number; 16])
}

fn source() -> MachineId {
    MachineId::from_random([7; 14])
}

fn hit(lookup: &Lookup) -> Option<String> {
    match lookup {
        Lookup::Hit(found) => found.replay.app.as_ref().map(ToString::to_string),
        _ => None,
    }
}

const A: u8 = 1;

#[test]
fn the_longest_path_is_found_until_it_is_over() {
    let cache = ReplayCache::default();
    let none = Lines::default();
    let now = Instant::now();
    let find = |host, path, now| hit(&cache.look_up(app(A), &[], to(host, path, &none), now));
    let learn = |text, pattern, path| {
        let order = replay(text, Some(pattern), None);
        cache.learn(
            app(A),
            &[],
            to("a.example", path, &none),
            &order,
            source(),
            now,
        )
    };
    assert_eq!(find("a.example", "/x", now), None);
    learn("app=outer", "/x/*", "/x/1").unwrap();
    learn("app=inner", "a.example/x/y", "/x/y").unwrap();
    assert_eq!(find("a.example", "/x/1/2?", now).as_deref(), Some("outer"));
    assert_eq!(find("a.example", "/x", now).as_deref(), Some("outer"));
    assert_eq!(find("a.example", "/x/y/z", now).as_deref(), Some("inner"));
    assert_eq!(find("a.example", "/x/yz", now).as_deref(), Some("outer"));
    assert_eq!(find("a.example", "/xy", now), None);
    assert_eq!(find("b.example", "/x", now), None);
    let other = cache.look_up(app(2), &[], to("a.example", "/x", &none), now);
    assert_eq!(other, Lookup::Miss);
    assert_eq!(find("a.example", "/x", now + Duration::from_secs(61)), None);
    assert!(learn("app=b", "/elsewhere", "/x").is_err());
    assert!(learn("app=b", "b.example/x", "/x").is_err());
    learn("app=all", "/*", "/q").unwrap();
    assert_eq!(find("a.example", "/", now).as_deref(), Some("all"));
}

#[test]
fn clients_skip_only_where_the_app_lets_them() {
    let cache = ReplayCache::default();
    let now = Instant::now();
    let none = Lines::default();
    let skip = lines(&[("fly-replay-cache-control", "skip")]);
    for (path, bypass) in [("/open", Some("yes")), ("/closed", None)] {
        let order = replay("app=t", Some(path), bypass);
        cache
            .learn(app(A), &[], to("h", path, &none), &order, source(), now)
            .unwrap();
    }
    let find = |path, fields| cache.look_up(app(A), &[], to("h", path, fields), now);
    assert_eq!(find("/open", &skip), Lookup::Bypass);
    assert!(matches!(find("/open", &none), Lookup::Hit(_)));
    assert!(matches!(find("/closed", &skip), Lookup::Hit(_)));
    assert_eq!(find("/other", &skip), Lookup::Miss);
}

fn rules() -> Vec<ReplayCacheRule> {
    let rule = |path_prefix: &str, key, allow_bypass| ReplayCacheRule {
        path_prefix: path_prefix.to_owned(),
        ttl: Duration::from_secs(300),
        key,
        allow_bypass,
    };
    vec![
        rule("/", ReplayCacheKey::Cookie("session_id".to_owned()), false),
        rule(
            "/api",
            ReplayCacheKey::Header("Authorization".to_owned()),
            true,
        ),
    ]
}

#[test]
fn sessions_stay_with_their_target() {
    let cache = ReplayCache::default();
    let rules = rules();
    let now = Instant::now();
    let ann = lines(&[
        ("cookie", "x=1; session_id=ann"),
        ("authorization", "Bearer a"),
    ]);
    let bob = lines(&[("cookie", "session_id=bob")]);
    let prefixed = lines(&[("cookie", "my_session_id=ann")]);
    let order = replay("app=for-ann", None, None);
    let learn = |path, fields, order: &Replay| {
        cache
            .learn(app(A), &rules, to("h", path, fields), order, source(), now)
            .unwrap();
    };
    let find =
        |host, path, fields| hit(&cache.look_up(app(A), &rules, to(host, path, fields), now));
    learn("/a", &ann, &order);
    assert_eq!(find("h", "/b", &ann).as_deref(), Some("for-ann"));
    assert_eq!(find("h", "/b", &bob), None);
    assert_eq!(find("h", "/b", &prefixed), None);
    assert_eq!(find("other", "/b", &ann), None);
    // Under /api the header decides, and where there is none the cookie.
    assert_eq!(find("h", "/api/x", &ann), None);
    let cookie_only = lines(&[("cookie", "session_id=ann")]);
    assert_eq!(
        find("h", "/api/x", &cookie_only).as_deref(),
        Some("for-ann")
    );
    assert_eq!(find("h", "/apix", &ann).as_deref(), Some("for-ann"));
    learn("/api", &ann, &replay("app=api", None, None));
    assert_eq!(find("h", "/api/x", &ann).as_deref(), Some("api"));
    let skip = lines(&[
        ("authorization", "Bearer a"),
        ("fly-replay-cache-control", "skip"),
    ]);
    let bypassed = cache.look_up(app(A), &rules, to("h", "/api/x", &skip), now);
    assert_eq!(bypassed, Lookup::Bypass);
    // What carries a state is this request's alone.
    learn("/b", &bob, &replay("app=t;state=1", None, None));
    assert_eq!(find("h", "/b", &bob), None);
    cache.invalidate(app(A), &rules, to("h", "/a", &ann));
    assert_eq!(find("h", "/b", &ann), None);
    assert_eq!(find("h", "/api/x", &ann).as_deref(), Some("api"));
}

#[test]
fn an_order_to_forget_is_obeyed_and_a_dead_target_is_forgotten() {
    let cache = ReplayCache::default();
    let none = Lines::default();
    let now = Instant::now();
    let request = to("h", "/x/1", &none);
    let learn = |order: &Replay| {
        cache
            .learn(app(A), &[], request, order, source(), now)
            .unwrap();
    };
    let kept = replay("app=t", Some("/x"), None);
    learn(&kept);
    learn(&replay("app=origin", Some("invalidate"), None));
    assert_eq!(cache.look_up(app(A), &[], request, now), Lookup::Miss);
    learn(&kept);
    let Lookup::Hit(found) = cache.look_up(app(A), &[], request, now) else {
        panic!("it was kept");
    };
    assert_eq!(found.source, source());
    cache.forget(app(A), &found);
    assert_eq!(cache.look_up(app(A), &[], request, now), Lookup::Miss);
    assert_eq!(cache.count.load(Ordering::Relaxed), 0);
}

#[test]
fn memory_stays_bounded_and_one_app_cannot_take_it_all() {
    let cache = ReplayCache::default();
    let none = Lines::default();
    let now = Instant::now();
    let keep = |app: AppId, number: usize, now| {
        let path = format!("/{number}");
        let order = replay("app=t", Some(&path), None);
        cache
            .learn(app, &[], to("h", &path, &none), &order, source(), now)
            .unwrap();
    };
    // Both apps share a shard.
    let mut digits = [1; 16];
    let quiet = AppId::from_random(digits);
    digits[0] = 2;
    let loud = AppId::from_random(digits);
    keep(quiet, 0, now);
    for number in 0..3 * APP_ENTRIES_MAX {
        keep(loud, number, now);
    }
    assert_eq!(cache.count.load(Ordering::Relaxed), APP_ENTRIES_MAX + 1);
    let find = |app, path| cache.look_up(app, &[], to("h", path, &none), now);
    assert!(matches!(find(quiet, "/0"), Lookup::Hit(_)));
    assert_eq!(find(loud, "/0"), Lookup::Miss);
    assert!(matches!(
        find(loud, &format!("/{}", 3 * APP_ENTRIES_MAX - 1)),
        Lookup::Hit(_)
    ));
    for again in 0..5 * APP_ENTRIES_MAX {
        keep(quiet, again % 2, now);
    }
    assert_eq!(cache.count.load(Ordering::Relaxed), APP_ENTRIES_MAX + 2);
    for number in 0..20 {
        let mut bytes = [3; 16];
        bytes[0] = number;
        let one = AppId::from_random(bytes);
        for path in 0..APP_ENTRIES_MAX {
            keep(one, path, now);
        }
    }
    assert!(cache.count.load(Ordering::Relaxed) <= 2 * ENTRIES_MAX);
}
