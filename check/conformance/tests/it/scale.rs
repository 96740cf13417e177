//! Scaling: how many machines an app has and how large they are, as releases that the cloud carries out by itself.

use std::collections::BTreeMap;
use std::fs;

use mayfly_conformance::Stage;
use mayfly_testing::{CliAnswer, CliRunner, CloudOptions, wait_until};
use serde_json::{Value, json};

struct Shop {
    stage: Stage,
    cli: CliRunner,
}

impl Shop {
    fn open(regions: &str) -> Shop {
        Shop::open_with(CloudOptions {
            arguments: vec!["--regions".to_owned(), regions.to_owned()],
            ..CloudOptions::default()
        })
    }

    fn open_with(options: CloudOptions) -> Shop {
        let stage = Stage::set_with(options);
        let cli = stage.cloud.cli();
        let text = "app = \"stage\"
primary_region = \"iad\"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = \"/\"
interval = \"1s\"
timeout = \"1s\"
";
        fs::write(cli.home().join("fly.toml"), text).unwrap();
        Shop { stage, cli }
    }

    fn deployed(regions: &str) -> Shop {
        let shop = Shop::open(regions);
        let deploy = ["deploy", "--image", "hello:latest", "--smoke-checks=false"];
        shop.cli.run(deploy).ok();
        shop
    }

    fn scale(&self, words: &[&str]) -> CliAnswer {
        self.cli.run(["scale"].iter().chain(words))
    }

    fn count(&self, words: &[&str]) -> CliAnswer {
        self.cli
            .run(["scale", "count", "--yes"].iter().chain(words))
    }

    /// By group: how many in which region.
    fn shown(&self) -> BTreeMap<String, Value> {
        let groups = self.scale(&["show", "--json"]).json();
        let groups = groups.as_array().unwrap().iter();
        groups
            .map(|group| {
                (
                    group["Process"].as_str().unwrap().to_owned(),
                    group["Regions"].clone(),
                )
            })
            .collect()
    }

    fn app(&self) -> Value {
        self.shown().remove("app").unwrap_or_default()
    }
}

#[test]
fn machines_come_and_go_in_the_regions_asked_for() {
    let shop = Shop::deployed("iad,lhr,nrt");
    assert_eq!(shop.app(), json!({"iad": 2}));
    let unasked = shop.scale(&["count", "3"]);
    assert!(unasked.refused().contains("--yes"), "{unasked:?}");
    assert!(
        unasked
            .stdout
            .contains("  +1 machines for group 'app' on region 'iad' of size 'shared-cpu-1x'"),
        "{unasked:?}"
    );
    assert_eq!(shop.app(), json!({"iad": 2}));

    shop.count(&["3"]).ok();
    shop.count(&["2", "--region", "lhr,nrt"]).ok();
    assert_eq!(shop.app(), json!({"iad": 3, "lhr": 1, "nrt": 1}));
    let same = shop.count(&["5"]);
    assert_eq!(
        same.ok(),
        "App already scaled to desired state. No need for changes\n"
    );
    shop.count(&["app=+1", "--region", "nrt"]).ok();
    assert_eq!(shop.app(), json!({"iad": 3, "lhr": 1, "nrt": 2}));
    shop.count(&["0", "--region", "nrt"]).ok();
    shop.count(&["2", "--region", "iad,lhr", "--max-per-region", "1"])
        .ok();
    assert_eq!(shop.app(), json!({"iad": 1, "lhr": 1}));
    // New machines are as the others and have the app's secrets and release.
    shop.cli.run(["secrets", "set", "A=b"]).ok();
    shop.count(&["3", "-e", "EXTRA=1"]).ok();
    let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    let newest = listed
        .as_array()
        .unwrap()
        .iter()
        .max_by_key(|machine| machine["created_at"].as_str().unwrap().to_owned());
    let newest = newest.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.stage.shell(&newest, "echo $A $EXTRA"), "b 1");

    shop.count(&["0"]).ok();
    assert_eq!(shop.shown(), BTreeMap::new());
    shop.count(&["2"]).ok();
    assert_eq!(shop.app(), json!({"iad": 2}));
    let releases = shop.cli.run(["releases"]);
    assert!(
        releases.ok().contains("Scale app to 2 in iad"),
        "{releases:?}"
    );
    // Numbers are nothing to go back to.
    let back = shop.cli.run(["releases", "rollback"]);
    assert!(back.ok().contains("live"), "{back:?}");
    assert_eq!(shop.app(), json!({"iad": 2}));
}

#[test]
fn mistakes_change_nothing() {
    let shop = Shop::open("iad,lhr");
    let early = shop.count(&["2"]);
    assert!(
        early
            .refused()
            .contains("no complete release: deploy it first"),
        "{early:?}"
    );
    let deploy = [
        "deploy",
        "--image",
        "hello:latest",
        "--smoke-checks=false",
        "--ha=false",
    ];
    shop.cli.run(deploy).ok();
    for (words, text) in [
        (
            vec!["count", "-y", "web=2"],
            "process group \"web\" does not exist: use app",
        ),
        (
            vec!["count", "-y", "many"],
            "'many' is not a valid process=count option",
        ),
        (
            vec!["count", "-y", "2", "-e", "FLY_A=1"],
            "--env FLY_A: names that begin with FLY_ are set by the platform",
        ),
        (vec!["count", "-y", "+0"], "must be a number from 0 to 1000"),
        (
            vec!["count", "-y", "5000"],
            "must be a number from 0 to 1000",
        ),
        (vec!["count", "-y", "2", "--region", "xyz"], "regions: "),
        (
            vec!["count", "-y", "5", "--max-per-region", "2"],
            "take fewer than the 5 wanted",
        ),
        (
            vec!["vm", "shared-cpu-3x"],
            "size must be one of shared-cpu-1x",
        ),
        (
            vec!["vm", "shared-cpu-1x", "--memory", "4096"],
            "1 shared CPUs take 256 to 2048 MiB",
        ),
        (
            vec!["vm", "shared-cpu-2x", "-g", "worker"],
            "no machine of group \"worker\"",
        ),
        (vec!["memory", "300"], "in steps of 256"),
        (vec!["memory", "much"], "`much` is not a unit of size"),
    ] {
        let refused = shop.scale(&words);
        assert!(refused.refused().contains(text), "{refused:?}");
    }
    assert_eq!(shop.app(), json!({"iad": 1}));
    assert_eq!(
        shop.cli
            .run(["releases", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn machines_are_made_larger_one_after_the_other() {
    let shop = Shop::open("iad");
    let deploy = ["deploy", "--image", "hello:latest", "--smoke-checks=false"];
    let sized = |size: &str| shop.cli.run(deploy.iter().chain(&["--vm-memory", size]));
    let refused = sized("300");
    assert!(refused.refused().contains("in steps of 256"), "{refused:?}");
    sized("512mb").ok();
    let group = || shop.scale(&["show", "--json"]).json()[0].clone();
    assert_eq!(group()["Memory"], 512);
    shop.scale(&["vm", "shared-cpu-2x", "--memory", "1024"])
        .ok();
    let shown = group();
    assert_eq!(
        (&shown["CPUs"], &shown["Memory"]),
        (&json!(2), &json!(1024)),
        "{shown}"
    );
    shop.scale(&["memory", "2gb"]).ok();
    assert_eq!(group()["Memory"], 2048);
    let table = shop.scale(&["show"]);
    assert!(table.ok().contains("2048 MB"), "{table:?}");
    // The next deployment leaves the size alone, which fly.toml does not name.
    shop.cli
        .run(["deploy", "--image", "hello:latest", "--smoke-checks=false"])
        .ok();
    assert_eq!(group()["Memory"], 2048);
    assert_eq!(group()["Count"], 2);
}

#[test]
fn scaling_goes_on_without_its_client_and_after_a_crash() {
    let mut shop = Shop::deployed("iad");
    shop.count(&["6", "--detach"]).ok();
    shop.stage.cloud.crash_and_restart();
    wait_until("six machines", || shop.app() == json!({"iad": 6}));
    wait_until("a complete release", || {
        shop.cli.run(["releases", "--json"]).json()[0]["status"] == "complete"
    });
    shop.count(&["1", "--detach"]).ok();
    shop.stage.cloud.crash_and_restart();
    wait_until("one machine", || shop.app() == json!({"iad": 1}));
}

#[test]
fn limits_of_services_change_by_a_release() {
    let shop = Shop::deployed("iad");
    for (words, why) in [
        (
            &["concurrency", "soft=many"][..],
            "'soft=many': must be a number",
        ),
        (
            &["concurrency", "most=3"],
            "use soft=N, hard=N or type=connections|requests",
        ),
        (
            &["concurrency", "soft=0"],
            "soft_limit must be a number from 1 to 1000000, got 0",
        ),
        (
            &["concurrency", "type=users"],
            "type must be one of connections, requests, got \"users\"",
        ),
        (
            &["concurrency", "soft=30", "hard=20"],
            "http_service.concurrency.soft_limit",
        ),
        (
            &["concurrency", "soft=3", "-g", "worker"],
            "process_group: no service of group \"worker\"",
        ),
    ] {
        let said = shop.scale(words);
        assert!(said.refused().contains(why), "{words:?}: {said:?}");
    }
    let changed = shop.scale(&["concurrency", "soft=200", "hard=250"]);
    assert!(changed.ok().contains("is live"), "{changed:?}");
    assert!(changed.stderr.contains("soft_limit = 200"), "{changed:?}");
    let limits = |machine: &Value| {
        let service = &machine["config"]["services"][0]["concurrency"];
        (service["soft_limit"].clone(), service["hard_limit"].clone())
    };
    let all_have = |soft: i64, hard: i64| {
        let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
        let machines = listed.as_array().unwrap();
        assert_eq!(machines.len(), 2);
        for machine in machines {
            assert_eq!(limits(machine), (json!(soft), json!(hard)), "{machine}");
        }
    };
    all_have(200, 250);
    let shown = shop.cli.run(["config", "show", "--app", "stage"]);
    assert!(shown.ok().contains("250"), "{shown:?}");
    // It takes image and configuration from whatever is live when its turn comes.
    let deploy = [
        "deploy",
        "--image",
        "hello:latest",
        "--env",
        "A=b",
        "--detach",
    ];
    shop.cli.run(deploy).ok();
    let json = shop.scale(&["concurrency", "soft=7", "hard=9", "--json"]);
    let version = json.json()["version"].as_i64().unwrap();
    wait_until("the change is live", || {
        let path = format!("/v1/apps/stage/releases/{version}");
        shop.stage.cloud.get(&path).expect(200)["status"] == "complete"
    });
    all_have(7, 9);
    let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.stage.shell(&id, "echo $A"), "b");
    shop.cli.run(["releases", "rollback"]).ok();
    let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    assert_ne!(limits(&listed[0]), (json!(7), json!(9)));
}

#[test]
fn a_machine_is_copied_into_another_region() {
    let shop = Shop::deployed("iad,lhr");
    let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    let source = listed[0].clone();
    let id = source["id"].as_str().unwrap();
    let clone = |words: &str| {
        let words = format!("machine clone {id} {words}");
        shop.cli.run(words.split(' '))
    };
    let wrong = clone("--region xyz");
    assert!(wrong.refused().contains("use one of iad, lhr"), "{wrong:?}");
    let copy = clone("--region lhr --name copy --json").json();
    assert_eq!(
        (&copy["region"], &copy["name"]),
        (&json!("lhr"), &json!("copy"))
    );
    assert_eq!(copy["image_ref"]["digest"], source["image_ref"]["digest"]);
    let without = |machine: &Value| {
        let mut config = machine["config"].clone();
        config.as_object_mut().unwrap().remove("image");
        config
    };
    assert_eq!(without(&copy), without(&source));
    assert_eq!(shop.app(), json!({"iad": 2, "lhr": 1}));
    // It is one of the group from then on.
    wait_until("requests of its region go there", || {
        let answer = shop.stage.cloud.visit_region(1, "stage", "/").unwrap();
        answer.status == 200 && answer.json()["machine"] == copy["id"]
    });
    shop.count(&["0", "--region", "lhr"]).ok();
    assert_eq!(shop.app(), json!({"iad": 2}));
}

/// Sizes are advised by what machines used, for as long as it was looked at them.
#[test]
fn a_size_is_advised_by_what_was_used() {
    let mut shop = Shop::open_with(CloudOptions {
        config: Some("[usage]\nmeasured_every = \"1s\"\nenough = \"4s\"\n".to_owned()),
        ..CloudOptions::default()
    });
    let nothing = shop.scale(&["advise"]);
    assert!(nothing.ok().contains("nothing to advise"), "{nothing:?}");
    let deploy = "deploy --image hello:latest --ha=false --smoke-checks=false --vm-memory 512";
    shop.cli.run(deploy.split(' ')).ok();
    let advice = |shop: &Shop| shop.scale(&["advise", "--json"]).json()[0].clone();
    let early = shop.scale(&["advise"]);
    assert!(
        early.ok().contains("not enough measurements yet"),
        "{early:?}"
    );
    let listed = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    // Memory that nobody can take back.
    shop.stage
        .shell(&id, "dd if=/dev/zero of=/dev/shm/filler bs=1M count=100");
    let is_seen = |advice: &Value| {
        advice["verdict"] == "change" && advice["memory_used_mb"]["peak"].as_u64() >= Some(100)
    };
    wait_until("a smaller size is advised", || is_seen(&advice(&shop)));
    let table = shop.scale(&["advise"]);
    assert!(table.ok().contains("shared-cpu-1x, 256 MB"), "{table:?}");
    assert!(table.stdout.contains(" MB of 512 MB over "), "{table:?}");
    // What was measured outlives the daemon.
    shop.stage.shell(&id, "rm /dev/shm/filler");
    let before = advice(&shop);
    shop.stage.cloud.stop_daemon();
    shop.stage.cloud.start_daemon();
    let after = advice(&shop);
    assert!(is_seen(&after), "{after}");
    assert!(
        after["measured_seconds"].as_u64() >= before["measured_seconds"].as_u64(),
        "{before} {after}"
    );
    // Its command does it; of the new size little is known.
    let command = after["command"].as_str().unwrap().to_owned();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    shop.cli.run(words).ok();
    let shown = shop.scale(&["show", "--json"]).json();
    assert_eq!(shown[0]["Memory"], 256, "{command}: {shown}");
    wait_until("it is to stay so", || {
        let advice = advice(&shop);
        advice["verdict"] == "keep" && advice["memory_used_mb"]["peak"].as_u64() < Some(100)
    });
}
