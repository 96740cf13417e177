//! Machines that come with the load, and go with it.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{panic, thread};

use mayfly_conformance::{Stage, echo_archive};
use mayfly_testing::{CliRunner, CloudOptions, TestFleet, wait_until};
use serde_json::{Value, json};

/// Times short enough for a test.
const PACE: &str = "[autoscale]\nbusy_for = \"2s\"\nquiet_for = \"6s\"\ncool_down = \"2s\"\n";

/// Of the soft limit of one machine.
const SOFT: usize = 2;

const APP: &str = "app = \"stage\"
primary_region = \"iad\"
[experimental]
exec = [\"/bin/echo-server\"]
[http_service]
internal_port = 8080
[http_service.concurrency]
type = \"requests\"
soft_limit = 2
hard_limit = 10
[[http_service.checks]]
path = \"/\"
interval = \"1s\"
timeout = \"5s\"
";

struct Shop {
    stage: Stage,
    cli: CliRunner,
}

impl Shop {
    fn open() -> Shop {
        Shop::in_regions("iad")
    }

    fn in_regions(regions: &str) -> Shop {
        let stage = Stage::set_with(CloudOptions {
            config: Some(PACE.to_owned()),
            arguments: vec!["--regions".to_owned(), regions.to_owned()],
            ..CloudOptions::default()
        });
        stage.import_echo();
        let cli = stage.cloud.cli();
        fs::write(cli.home().join("fly.toml"), APP).unwrap();
        let deploy = "deploy --image echo:latest --ha=false --smoke-checks=false";
        cli.run(deploy.split(' ')).ok();
        Shop { stage, cli }
    }

    fn run(&self, words: &str) -> mayfly_testing::CliAnswer {
        self.cli.run(words.split(' '))
    }

    fn machines(&self) -> Vec<Value> {
        let listed = self.stage.cloud.get(&self.stage.path("")).expect(200);
        listed.as_array().cloned().unwrap_or_default()
    }

    fn rule(&self) -> Value {
        self.run("autoscale show --json").json()[0].clone()
    }

    /// Kinds and texts of what the rules did.
    fn doings(&self) -> Vec<(String, Value)> {
        let audit = self.run("audit --actor autoscaler --kind autoscale. -n 100 --json");
        let entries = audit.ok().lines();
        let entries = entries.map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries
            .map(|entry| {
                let kind = entry["kind"].as_str().unwrap().to_owned();
                (kind, entry["after"].clone())
            })
            .collect()
    }

    /// Keeps so many requests under way while `act` runs; none may fail. Returns how many were answered.
    fn under_load(&self, at_once: usize, act: impl FnOnce()) -> usize {
        self.under_load_in(&[0], at_once, act)
    }

    /// The same at the edges of several regions, so many at each.
    fn under_load_in(&self, regions: &[u8], at_once: usize, act: impl FnOnce()) -> usize {
        let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let (stop, answered) = (&stop, &answered);
            for region in regions.iter().flat_map(|region| vec![*region; at_once]) {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let cloud = &self.stage.cloud;
                        let answer = cloud
                            .visit_region(region, "stage", "/?pause=300ms")
                            .unwrap();
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let acted = panic::catch_unwind(panic::AssertUnwindSafe(act));
            stop.store(true, Ordering::Relaxed);
            if let Err(problem) = acted {
                panic::resume_unwind(problem);
            }
        });
        answered.into_inner()
    }
}

#[test]
fn load_makes_machines_and_quiet_ends_them() {
    let shop = Shop::open();
    let own = shop.machines()[0]["id"].clone();
    let set = shop.run("autoscale set min=1 max=3");
    assert!(set.ok().contains("GROUP"), "{set:?}");
    let answered = shop.under_load(5 * SOFT, || {
        wait_until("three machines run", || shop.rule()["running"] == 3);
        // There is more to do than three can, and there are no more.
        wait_until("all are full", || {
            shop.rule()["load_percent"].as_u64() > Some(100)
        });
        // Nothing tells that a machine is not made: as long as the rule would take to make one.
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            assert_eq!(shop.machines().len(), 3);
        }
        let shown = shop.run("scale show");
        let line = "Autoscale: app has 1 to 3 machines, 2 of 3 made by load, load ";
        assert!(shown.ok().contains(line), "{shown:?}");
        assert!(shop.run("status").ok().contains(line));
    });
    assert!(answered > 50, "{answered}");
    // Requests are seldom on their way while the machines go, and are answered.
    shop.under_load(1, || {
        for (left, what) in [(2, "two machines are left"), (1, "one machine is left")] {
            wait_until(what, || shop.machines().len() == left);
        }
    });
    assert_eq!(shop.machines()[0]["id"], own);
    let doings = shop.doings();
    let count = |kind: &str| doings.iter().filter(|(known, _)| known == kind).count();
    assert_eq!(count("autoscale.grow"), 2, "{doings:?}");
    assert_eq!(count("autoscale.grown"), 2, "{doings:?}");
    wait_until("the last end is told", || {
        shop.doings()
            .iter()
            .filter(|(kind, _)| kind == "autoscale.shrunk")
            .count()
            == 2
    });
    let why = doings
        .iter()
        .find(|(kind, _)| kind == "autoscale.grow")
        .unwrap();
    let why = why.1["reason"].as_str().unwrap();
    assert!(
        why.contains("of the soft limit to do in iad, for 2 s"),
        "{why}"
    );

    shop.run("autoscale set min=2 max=2").ok();
    wait_until("the fewest are there", || shop.rule()["running"] == 2);
    // What a deployment makes of a machine of the load stays one.
    shop.run("deploy --image echo:latest --smoke-checks=false --strategy bluegreen")
        .ok();
    wait_until("the machines are seen", || shop.rule()["created"] == 1);
    // And what is asked for by number is nobody's but the user's.
    shop.run("scale count 3 --yes").ok();
    wait_until("the newest of ours goes", || {
        let rule = shop.rule();
        rule["machines"] == 2 && rule["created"] == 0
    });
    let off = shop.run("autoscale disable");
    assert!(
        off.ok().contains("do not come and go with the load"),
        "{off:?}"
    );
    assert_eq!(shop.machines().len(), 2);
}

/// Nothing runs where the load comes in: the rule of the region makes the first machine, and ends it.
#[test]
fn load_makes_the_first_machine_of_a_region() {
    let shop = Shop::in_regions("iad,lhr,nrt");
    shop.run("autoscale set min=0 max=1 --region lhr").ok();
    shop.run("autoscale set min=1 max=1").ok();
    let in_region = |code: &str| {
        let machines = shop.machines();
        machines.iter().filter(|one| one["region"] == code).count()
    };
    // As much comes in at a region that no rule names.
    shop.under_load_in(&[1, 2], SOFT, || {
        wait_until("the region has a machine", || in_region("lhr") == 1);
        wait_until("it takes what comes in there", || {
            let answer = shop.stage.cloud.visit_region(1, "stage", "/").unwrap();
            answer.json()["region"] == "lhr"
        });
    });
    assert_eq!((in_region("iad"), in_region("nrt")), (1, 0));
    let doings = shop.doings();
    let grown = doings.iter().find(|(kind, _)| kind == "autoscale.grow");
    let why = grown.unwrap().1["reason"].as_str().unwrap();
    assert!(why.starts_with("no machine in lhr, where "), "{why}");
    wait_until("it goes when nothing comes in", || in_region("lhr") == 0);
    assert_eq!(in_region("iad"), 1);
}

#[test]
fn a_killed_daemon_makes_no_machine_twice() {
    let mut shop = Shop::open();
    for round in 1..=4_u64 {
        let wanted = round + 1;
        let path = "/v1/apps/stage/autoscale";
        let body = json!({"min": wanted, "max": wanted});
        shop.stage.cloud.put(path, body).expect(200);
        // At another moment of the making each time.
        thread::sleep(Duration::from_millis(400 * (round - 1)));
        shop.stage.cloud.crash_and_restart();
        wait_until("the fewest are there", || {
            let rule = shop.rule();
            rule["running"] == wanted && rule["under_way"].is_null()
        });
        let machines = shop.machines();
        assert_eq!(machines.len() as u64, wanted, "{machines:?}");
    }
    shop.stage
        .cloud
        .put("/v1/apps/stage/autoscale", json!({"min": 1, "max": 1}))
        .expect(200);
    wait_until("one is being emptied", || {
        !shop.rule()["under_way"].is_null()
    });
    shop.stage.cloud.crash_and_restart();
    for left in (2..=4).rev() {
        wait_until("one goes after the other", || {
            shop.rule()["machines"].as_u64() <= Some(left)
        });
    }
    wait_until("the user's is left", || {
        let rule = shop.rule();
        rule["machines"] == 1 && rule["under_way"].is_null()
    });
    assert!(shop.machines()[0]["config"]["metadata"]["mayfly_autoscaled"].is_null());
}

#[test]
fn mistakes_are_named() {
    let shop = Shop::open();
    for (words, text) in [
        ("autoscale set min=1", "max is required"),
        (
            "autoscale set min=3 max=2",
            "min must be at most max, got 3 and 2",
        ),
        (
            "autoscale set min=1 max=0",
            "max must be a number from 1 to 1000, got 0",
        ),
        ("autoscale set min=one max=2", "'min=one': must be a number"),
        (
            "autoscale set soft=1",
            "'soft=1' is no bound: use min=N and max=N",
        ),
        (
            "autoscale set min=1 max=2 -g web",
            "\"web\" does not exist: use app",
        ),
        ("autoscale set min=1 max=2 -r nrt", "regions: "),
        ("autoscale disable -g app", "has no such rule"),
    ] {
        let answer = shop.run(words);
        assert!(answer.refused().contains(text), "{words}: {answer:?}");
    }
    assert_eq!(shop.run("autoscale show --json").json(), json!([]));
}

/// The edge of another server alone sees the load.
#[test]
fn load_at_a_joined_server_counts() {
    let fleet = TestFleet::start(&["fra", "ams"], PACE);
    let archive = echo_archive().to_string_lossy().into_owned();
    fleet.must(&["image", "import", &archive, "--name", "echo:latest"]);
    fleet.must(&["apps", "create", "web"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fly.toml");
    let text = "app = \"web\"
primary_region = \"ams\"
[experimental]
exec = [\"/bin/echo-server\"]
[http_service]
internal_port = 8080
[http_service.concurrency]
type = \"requests\"
soft_limit = 1
";
    fs::write(&config, text).unwrap();
    let config = config.to_string_lossy().into_owned();
    let deploy =
        format!("deploy --config {config} --image echo:latest --ha=false --smoke-checks=false");
    fleet.must(&deploy.split(' ').collect::<Vec<_>>());
    fleet.must(
        &"autoscale set min=1 max=2 --app web"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let rule = || fleet.json(&["autoscale", "show", "--app", "web", "--json"])[0].clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fleet.visit(1, "web", "/?pause=500ms").unwrap();
                }
            });
        }
        let grown = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            wait_until("a second machine is there", || rule()["machines"] == 2);
        }));
        stop.store(true, Ordering::Relaxed);
        grown.unwrap();
    });
    let machines = fleet.json(&["machine", "list", "--app", "web", "--json"]);
    let regions = machines.as_array().unwrap().iter();
    assert!(
        regions.clone().all(|one| one["region"] == "ams"),
        "{machines}"
    );
}
