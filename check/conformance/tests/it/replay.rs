//! Replays over three regions: apps whose machines send requests elsewhere, by header and as JSON.
//!
//! Every rule is one of <https://fly.io/docs/networking/dynamic-request-routing/>.

use std::net::SocketAddr;

use mayfly_conformance::Stage;
use mayfly_testing::{Answer, CloudOptions, Method, send, wait_until};
use serde_json::{Value, json};

const REGIONS: [&str; 3] = ["iad", "fra", "nrt"];
/// Their places.
const IAD: u8 = 0;
const FRA: u8 = 1;
const NRT: u8 = 2;

/// One machine per region in `stage`; one in `other`, in `apart` of another network, and in `foreign` of another
/// organization.
struct World {
    stage: Stage,
    ids: Vec<String>,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

impl World {
    fn set() -> World {
        let stage = Stage::set_with(CloudOptions {
            arguments: vec!["--regions".to_owned(), REGIONS.join(",")],
            ..CloudOptions::default()
        });
        stage.import_echo();
        stage
            .cloud
            .post("/v1/orgs", json!({"name": "Rivals"}))
            .expect(201);
        stage.create_app("other", "personal");
        stage.create_app("foreign", "rivals");
        let apart = json!({"app_name": "apart", "org_slug": "personal", "network": "apart"});
        stage.cloud.post("/v1/apps", apart).expect(201);
        let mut world = World {
            stage,
            ids: Vec::new(),
        };
        world.ids = REGIONS
            .map(|region| world.run("stage", region, json!({})))
            .to_vec();
        world.run("other", "nrt", json!({}));
        world.run("apart", "fra", json!({}));
        world.run("foreign", "iad", json!({}));
        world
    }

    fn run(&self, app: &str, region: &str, env: Value) -> String {
        let sessions = json!([{"path_prefix": "/sessions", "ttl_seconds": 60, "type": "cookie",
            "name": "session"}]);
        let ports = json!([{"port": 80, "handlers": ["http"],
            "http_options": {"replay_cache": sessions}}]);
        let mut config = Stage::echo(json!({"ports": ports, "autostart": false}));
        config["env"] = env;
        let asked = json!({"region": region, "config": config});
        let path = format!("/v1/apps/{app}/machines");
        let machine = self.stage.cloud.post(&path, asked).expect(200);
        let id = machine["id"].as_str().unwrap().to_owned();
        let wait = format!("{path}/{id}/wait?state=started&timeout=60");
        self.stage.cloud.get(&wait).expect(200);
        wait_until("it answers", || {
            let forced = [("fly-force-instance-id", id.as_str())];
            self.send(IAD, Method::Get, app, "/", &forced, b"").status == 200
        });
        id
    }

    fn send(
        &self,
        region: u8,
        method: Method,
        app: &str,
        path: &str,
        fields: Fields<'_>,
        body: &[u8],
    ) -> Answer {
        let host = format!("{app}.mayfly.localhost");
        let mut all = vec![("host", host.as_str()), ("accept", "application/json")];
        all.extend_from_slice(fields);
        let edge = SocketAddr::from(([127, 0, 0, 1 + region], self.stage.cloud.edge().port()));
        send(edge, method, path, &all, body).unwrap_or_else(|error| panic!("{error}"))
    }

    fn get(&self, region: u8, path: &str, fields: Fields<'_>) -> Answer {
        self.send(region, Method::Get, "stage", path, fields, b"")
    }

    /// What the machine says that finally answers a request that came in at `region` and is replayed once.
    #[track_caller]
    fn ordered(&self, region: u8, order: &str) -> Value {
        self.get(region, "/", &[("x-order", order)]).expect(200)
    }

    /// The edge's own answer to an order: status and code.
    #[track_caller]
    fn refused(&self, order: Fields<'_>) -> (u16, String) {
        let answer = self.get(IAD, "/", order);
        let code = answer.json()["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(!answer.json()["request_id"].is_null(), "{}", answer.text());
        (answer.status, code)
    }
}

fn field<'a>(seen: &'a Value, name: &str) -> &'a str {
    seen["headers"][name].as_str().unwrap_or_default()
}

#[test]
fn replays_lead_wherever_an_app_says() {
    let world = World::set();
    to_regions(&world);
    to_machines(&world);
    to_apps(&world);
    with_timeout_and_fallback(&world);
    as_json(&world);
    with_bodies_and_without_end(&world);
    remembered_by_path(&world);
    remembered_by_session(&world);
    clients_choose(&world);
}

fn to_regions(world: &World) {
    for (entry, order, region) in [
        (IAD, "region=nrt", "nrt"),
        (NRT, "region=iad", "iad"),
        (IAD, r#"region="fra,nrt""#, "fra"),
        (IAD, r#"region="sin,nrt,fra""#, "nrt"),
        (IAD, r#"region="sin,eu,any""#, "fra"),
        (IAD, "region=apac", "nrt"),
        (NRT, "region=us", "iad"),
        (NRT, "region=na", "iad"),
        (FRA, r#"region="syd,any""#, "fra"),
    ] {
        let seen = world.ordered(entry, order);
        assert_eq!(seen["region"], region, "{order}: {seen}");
    }
    let seen = world.ordered(IAD, "region=nrt;state=\"from: the left, in full\"");
    let source = field(&seen, "fly-replay-src");
    let parts: Vec<&str> = source.splitn(4, ';').collect();
    assert_eq!(parts[0], format!("instance={}", world.ids[0]), "{source}");
    assert_eq!(parts[1], "region=iad", "{source}");
    let asked_at: u64 = parts[2].strip_prefix("t=").unwrap().parse().unwrap();
    assert!(asked_at > 1_700_000_000_000_000, "{source}");
    assert!(parts[3].contains("from: the left, in full"), "{source}");
    assert_eq!(field(&seen, "fly-replay-cache-status"), "miss");
    // The order is not the client's to see, and a client cannot pretend to be a replay.
    assert!(
        !seen["headers"]
            .as_object()
            .unwrap()
            .contains_key("fly-replay")
    );
    let forged = world.get(IAD, "/", &[("fly-replay-src", "instance=x;region=iad;t=1")]);
    assert_eq!(field(&forged.expect(200), "fly-replay-src"), "");
    let (status, code) = world.refused(&[("x-order", "region=sin")]);
    assert_eq!((status, code.as_str()), (503, "PR01"));
}

fn to_machines(world: &World) {
    let (iad, nrt) = (&world.ids[0], &world.ids[2]);
    for order in [
        format!("instance={nrt}"),
        format!("prefer_instance={nrt}"),
        format!("instance={}", nrt.to_uppercase()),
        format!("instance={nrt},state=x"),
    ] {
        let seen = world.ordered(IAD, &order);
        assert_eq!(seen["machine"], nrt.as_str(), "{order}: {seen}");
        assert_eq!(field(&seen, "fly-preferred-instance-unavailable"), "");
    }
    let seen = world.ordered(IAD, "prefer_instance=deadbeef123456;region=fra");
    assert_eq!(seen["region"], "fra", "{seen}");
    assert_eq!(
        field(&seen, "fly-preferred-instance-unavailable"),
        "deadbeef123456"
    );
    for _ in 0..5 {
        let seen = world.ordered(IAD, "elsewhere=true");
        assert_ne!(seen["machine"], iad.as_str(), "{seen}");
    }
    let (status, code) = world.refused(&[("x-order", "instance=deadbeef123456")]);
    assert!(
        status >= 404 && code.starts_with("PR"),
        "a machine that is not there: {status} {code}"
    );
    for nonsense in [
        "region=",
        "nowhere",
        "instance=a;prefer_instance=b",
        "fallback=me",
    ] {
        let (status, code) = world.refused(&[("x-order", nonsense)]);
        assert_eq!((status, code.as_str()), (502, "PA03"), "{nonsense}");
    }
}

fn to_apps(world: &World) {
    let cli = world.stage.cloud.cli();
    let allowed = |app: &str| {
        let answer = world.get(IAD, "/", &[("x-order", &format!("app={app}"))]);
        assert!(
            answer.status == 200 || answer.json()["code"] == "PA05",
            "{}",
            answer.text()
        );
        answer.status == 200 && answer.json()["app"] == app
    };
    assert!(allowed("other"));
    let seen = world.ordered(IAD, "region=\"nrt,any\";app=other");
    assert_eq!(seen["app"], "other", "{seen}");
    let (status, code) = world.refused(&[("x-order", "app=nobody")]);
    assert_eq!((status, code.as_str()), (502, "PA04"));

    assert!(!allowed("apart") && !allowed("foreign"));
    let networks = ["orgs", "cross-network-replays"];
    let sources = ["orgs", "replay-sources"];
    let said = cli.run(networks.iter().chain(&["status"]));
    assert!(said.ok().ends_with("are disabled\n"), "{said:?}");
    let said = cli.run(networks.iter().chain(&["enable", "--yes"]));
    assert!(said.ok().ends_with("are enabled\n"), "{said:?}");
    let said = cli.run(
        sources
            .iter()
            .chain(&["add", "personal", "--org", "rivals"]),
    );
    assert_eq!(said.ok(), "personal\n");
    wait_until("grants reach the edge", || {
        allowed("apart") && allowed("foreign")
    });
    // A grant is not mutual.
    let back = world.send(
        IAD,
        Method::Get,
        "foreign",
        "/",
        &[("x-order", "app=stage")],
        b"",
    );
    assert_eq!(back.json()["code"], "PA05", "{}", back.text());
    let listed = world.stage.cloud.get("/v1/orgs/rivals/replay_sources");
    assert_eq!(
        listed.expect(200),
        json!({"replay_sources": ["personal"], "cross_network_replays": false})
    );
    cli.run(networks.iter().chain(&["disable"])).ok();
    cli.run(
        sources
            .iter()
            .chain(&["remove", "personal", "--org", "rivals"]),
    )
    .ok();
    wait_until("what was granted is taken back", || {
        !allowed("apart") && !allowed("foreign")
    });
    let missing = cli.run(sources.iter().chain(&["add", "nonesuch"]));
    assert!(missing.refused().contains("nonesuch"), "{missing:?}");
}

fn with_timeout_and_fallback(world: &World) {
    // It runs and its program does not listen for as long as this test lasts.
    let path = "/v1/apps/other/machines";
    let mut config = Stage::echo(json!({"autostart": false}));
    config["env"] = json!({"LISTEN_AFTER": "1h"});
    let asked = json!({"region": "fra", "config": config});
    let deaf = world.stage.cloud.post(path, asked).expect(200);
    let deaf = deaf["id"].as_str().unwrap();
    let wait = format!("{path}/{deaf}/wait?state=started&timeout=60");
    world.stage.cloud.get(&wait).expect(200);
    for fallback in ["force_self", "prefer_self"] {
        let order = format!("app=other;instance={deaf};timeout=800ms;fallback={fallback}");
        let seen = world.ordered(IAD, &order);
        assert_eq!(seen["machine"], world.ids[0].as_str(), "{order}: {seen}");
        let failed = field(&seen, "fly-replay-failed");
        for part in [
            &format!("instance={deaf}"),
            "app=other",
            &format!("replay_source={}", world.ids[0]),
            "reason=timeout",
            "elapsed_ms=",
        ] {
            assert!(failed.contains(part), "no {part} in {failed}");
        }
    }
    let order = "instance=deadbeef123456;fallback=force_self";
    let seen = world.ordered(IAD, order);
    assert!(
        field(&seen, "fly-replay-failed").contains("reason=no_candidate"),
        "{seen}"
    );
    // Without a fallback a timeout makes the error come sooner than the minute it would take.
    let began = std::time::Instant::now();
    let order = format!("app=other;instance={deaf};timeout=800ms");
    let (status, _) = world.refused(&[("x-order", &order)]);
    assert!(status >= 500 && began.elapsed().as_secs() < 10, "{status}");
    // A fallback cannot order again: its order goes to the client as what it is.
    let orders = [
        ("x-order", "instance=deadbeef123456;fallback=force_self"),
        ("x-order-always", "yes"),
    ];
    let answer = world.get(IAD, "/", &orders);
    assert_eq!(answer.status, 307, "{}", answer.text());
    world
        .stage
        .cloud
        .delete(&format!("{path}/{deaf}?force=true"))
        .expect(200);
}

fn as_json(world: &World) {
    let order = json!({
        "region": "nrt", "state": "json", "app": "other",
        "transform": {
            "path": "/changed?by=replay",
            "set_headers": [{"name": "X-Set", "value": "new"}, {"name": "x-kept", "value": "replaced"}],
            "delete_headers": ["cookie", "x-gone"],
        },
    })
    .to_string();
    let fields = [
        ("x-order-json", order.as_str()),
        ("cookie", "a=b"),
        ("x-gone", "1"),
        ("x-kept", "old"),
    ];
    let answer = world.send(
        IAD,
        Method::Put,
        "stage",
        "/path?query",
        &fields,
        b"the body",
    );
    let seen = answer.expect(200);
    for (key, value) in [
        ("app", "other"),
        ("target", "/changed?by=replay"),
        ("method", "PUT"),
        ("body", "the body"),
    ] {
        assert_eq!(seen[key], value, "{seen}");
    }
    for (name, value) in [
        ("x-set", "new"),
        ("x-kept", "replaced"),
        ("x-gone", ""),
        ("cookie", ""),
    ] {
        assert_eq!(field(&seen, name), value, "{name}: {seen}");
    }
    assert!(field(&seen, "fly-replay-src").ends_with(";state=json"));
    for nonsense in [
        "{",
        "[]",
        "{}",
        r#"{"region":5}"#,
        r#"{"app":"other","cache":{"ttl":1}}"#,
    ] {
        let answer = world.get(IAD, "/", &[("x-order-json", nonsense)]);
        let cache_only = nonsense.contains("cache");
        // What cannot be remembered is followed all the same.
        let expected = if cache_only { 200 } else { 502 };
        assert_eq!(answer.status, expected, "{nonsense}: {}", answer.text());
    }
}

fn with_bodies_and_without_end(world: &World) {
    let post = |length: usize| {
        let body = vec![b'x'; length];
        let order = [("x-order", "region=nrt")];
        world.send(IAD, Method::Post, "stage", "/", &order, &body)
    };
    let seen = post(1 << 20).expect(200);
    assert_eq!(
        (&seen["length"], &seen["region"]),
        (&json!(1 << 20), &json!("nrt"))
    );
    let answer = post((1 << 20) + 1);
    assert_eq!(answer.json()["code"], "PA01", "{}", answer.text());
    let endless = [("x-order", "region=any"), ("x-order-always", "yes")];
    let (status, code) = world.refused(&endless);
    assert_eq!((status, code.as_str()), (502, "PA02"));
}

fn remembered_by_path(world: &World) {
    let path = "/remembered/by/path";
    let order = [
        ("x-order", "region=nrt"),
        ("x-order-with-fly-replay-cache", "/remembered/*"),
        ("x-order-with-fly-replay-cache-ttl-secs", "60"),
        ("x-order-with-fly-replay-cache-allow-bypass", "yes"),
    ];
    let status = |answer: Answer| {
        let seen = answer.expect(200);
        let status = field(&seen, "fly-replay-cache-status").to_owned();
        (seen["region"].as_str().unwrap().to_owned(), status)
    };
    let told = |region: &str, word: &str| (region.to_owned(), word.to_owned());
    assert_eq!(status(world.get(IAD, path, &order)), told("nrt", "miss"));
    let hit = world.get(IAD, "/remembered/too?x", &[]);
    assert_eq!(field(&hit.expect(200), "fly-replay-src"), "");
    assert_eq!(status(hit), told("nrt", "hit"));
    assert_eq!(status(world.get(IAD, "/elsewhere", &[])), told("iad", ""));
    let skip = [("fly-replay-cache-control", "skip")];
    assert_eq!(status(world.get(IAD, path, &skip)), told("iad", ""));
    let skip = [skip[0], ("x-order", "region=fra")];
    assert_eq!(status(world.get(IAD, path, &skip)), told("fra", "bypass"));
    // The target sends it back and has it forgotten.
    let forget = [
        ("x-order", "region=iad"),
        ("x-order-on-hit", "yes"),
        ("x-order-with-fly-replay-cache", "invalidate"),
    ];
    assert_eq!(status(world.get(IAD, path, &forget)).0, "iad");
    assert_eq!(status(world.get(IAD, path, &[])), told("iad", ""));
}

fn remembered_by_session(world: &World) {
    let order = [("cookie", "a=1; session=ann"), ("x-order", "region=fra")];
    let first = world.get(IAD, "/sessions/start", &order).expect(200);
    assert_eq!(first["region"], "fra");
    for (cookie, region, word) in [("session=ann", "fra", "hit"), ("session=bob", "iad", "")] {
        let seen = world
            .get(IAD, "/sessions/next", &[("cookie", cookie)])
            .expect(200);
        assert_eq!(seen["region"], region, "{cookie}: {seen}");
        assert_eq!(field(&seen, "fly-replay-cache-status"), word);
    }
    let elsewhere = world
        .get(IAD, "/", &[("cookie", "session=ann")])
        .expect(200);
    assert_eq!(elsewhere["region"], "iad", "{elsewhere}");
}

fn clients_choose(world: &World) {
    let (iad, nrt) = (world.ids[0].as_str(), world.ids[2].as_str());
    for (name, value, region) in [
        ("fly-prefer-region", "nrt", "nrt"),
        ("fly-prefer-region", "sin,fra", "fra"),
        ("fly-prefer-region", "sin", "iad"),
        ("fly-force-region", "sin,nrt", "nrt"),
        ("fly-prefer-instance-id", nrt, "nrt"),
        ("fly-force-instance-id", nrt, "nrt"),
    ] {
        let seen = world.get(IAD, "/", &[(name, value)]).expect(200);
        assert_eq!(seen["region"], region, "{name}: {value}: {seen}");
        assert_eq!(field(&seen, "fly-region"), "iad", "where it came in");
    }
    let unknown = [("fly-prefer-instance-id", "deadbeef123456")];
    let seen = world.get(IAD, "/", &unknown).expect(200);
    assert_eq!(seen["machine"], iad);
    assert_eq!(
        field(&seen, "fly-preferred-instance-unavailable"),
        "deadbeef123456"
    );
    for name in ["fly-force-region", "fly-force-instance-id"] {
        let value = if name.ends_with("id") {
            "deadbeef123456"
        } else {
            "sin"
        };
        assert!(
            world.get(IAD, "/", &[(name, value)]).status >= 404,
            "{name}"
        );
    }
}
