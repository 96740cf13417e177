//! Several regions on one server: a host and an edge for each, one private network.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use mayfly_conformance::{Stage, is_alive};
use mayfly_testing::{CloudOptions, binaries, wait_for, wait_until};
use serde_json::{Value, json};

const REGIONS: [&str; 3] = ["iad", "fra", "nrt"];

fn three_regions() -> Stage {
    Stage::set_with(CloudOptions {
        arguments: vec!["--regions".to_owned(), REGIONS.join(",")],
        ..CloudOptions::default()
    })
}

/// A machine in a region that serves HTTP and can be found by `mark` among the server's processes.
fn server(stage: &Stage, region: &str, mark: &str) -> String {
    let config = json!({
        "image": "hello:latest",
        "init": {"exec": ["/bin/sh", "-c", format!(": {mark}; /bin/start; true")]},
        "services": [{"protocol": "tcp", "internal_port": 8080,
            "ports": [{"port": 80, "handlers": ["http"]}]}],
    });
    let asked = json!({"region": region, "config": config});
    let machine = stage.cloud.post(&stage.path(""), asked).expect(200);
    assert_eq!(machine["region"], region);
    let id = machine["id"].as_str().unwrap().to_owned();
    stage.wait(&id, "started");
    id
}

fn ip_of(stage: &Stage, id: &str) -> String {
    stage.get(id)["private_ip"].as_str().unwrap().to_owned()
}

#[test]
fn three_regions_are_one_cloud_on_one_server() {
    let mut stage = three_regions();
    let ids: Vec<String> = REGIONS
        .iter()
        .map(|region| server(&stage, region, &format!("region-of-three-{region}")))
        .collect();
    // Each has an own host, hence addresses that nobody else has.
    let status = stage.cloud.get("/v1/status").expect(200);
    let hosts: BTreeSet<&str> = status["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["host_id"].as_str().unwrap())
        .collect();
    assert_eq!(hosts.len(), 3, "{status}");
    let addresses: BTreeSet<String> = ids
        .iter()
        .flat_map(|id| {
            let shown = stage.shell(id, "ip -4 -o addr show eth0 | awk '{print $4}'");
            [ip_of(&stage, id), shown]
        })
        .collect();
    assert_eq!(addresses.len(), 6, "{addresses:?}");
    for (id, region) in ids.iter().zip(REGIONS) {
        assert_eq!(stage.shell(id, "echo $FLY_REGION"), region);
        for other in &ids {
            let ip = ip_of(&stage, other);
            let request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'";
            let answer = stage.shell(id, &format!("{request} | timeout 5 nc -w 2 {ip} 8080"));
            assert!(answer.contains(other.as_str()), "{id} to {other}: {answer}");
        }
    }
    for index in 0..3 {
        let answer = wait_for("the edge of a region answers", || {
            let answer = stage.cloud.visit_region(index, &stage.app, "/").ok()?;
            (answer.status == 200).then_some(answer)
        });
        assert!(answer.text().contains("Mayfly"), "{}", answer.text());
    }
    let listed = stage.cloud.get(&stage.path("?region=fra")).expect(200);
    assert_eq!(listed[0]["id"], ids[1].as_str());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    // A crash loses nothing of any region.
    let pids: Vec<i32> = REGIONS
        .iter()
        .map(|region| stage.host_pid(&format!("region-of-three-{region}")))
        .collect();
    stage.cloud.crash_and_restart();
    for (id, pid) in ids.iter().zip(&pids) {
        assert!(is_alive(*pid));
        assert_eq!(stage.state(id), "started");
        assert_eq!(stage.shell(id, "echo reachable"), "reachable");
    }
    // What one host does not need the others may: neither image nor machine goes with it.
    stage.destroy(&ids[1]);
    stage
        .cloud
        .post("/v1/images/prune", Value::Null)
        .expect(200);
    stage.cloud.crash_and_restart();
    for id in [&ids[0], &ids[2]] {
        assert_eq!(stage.state(id), "started");
        stage.act(id, "restart", json!({}));
        wait_until("it runs again", || {
            stage.exits(id) == 1 && stage.state(id) == "started"
        });
    }
    // All regions halt and come back.
    stage.cloud.stop_daemon();
    let halted = Command::new(binaries().join("mayflyd"))
        .args(["halt", "--data-dir"])
        .arg(stage.cloud.data_dir())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&halted.stdout).trim(),
        "2",
        "{halted:?}"
    );
    stage.cloud.start_daemon();
    for id in [&ids[0], &ids[2]] {
        stage.wait(id, "started");
    }
}

#[test]
fn a_region_is_kept_while_machines_live_in_it() {
    let mut stage = three_regions();
    let there = server(&stage, "nrt", "kept-region-1");
    let regions = |stage: &Stage| -> Vec<String> {
        let status = stage.cloud.get("/v1/status").expect(200);
        let hosts = status["hosts"].as_array().unwrap().iter();
        hosts
            .map(|host| host["region"].as_str().unwrap().to_owned())
            .collect()
    };
    // Who says nothing gets what there was; who leaves a region out keeps what lives in it.
    stage.cloud.set_arguments(&[]);
    stage.cloud.crash_and_restart();
    assert_eq!(regions(&stage), REGIONS);
    stage.cloud.set_arguments(&["--regions", "fra,iad"]);
    stage.cloud.crash_and_restart();
    assert_eq!(regions(&stage), ["fra", "iad", "nrt"]);
    assert_eq!(stage.shell(&there, "echo reachable"), "reachable");
    stage.destroy(&there);
    stage.cloud.crash_and_restart();
    assert_eq!(regions(&stage), ["fra", "iad"]);
}

#[test]
fn the_command_line_shows_regions() {
    let stage = three_regions();
    let cli = stage.cloud.cli();
    let app = stage.app.as_str();
    let run = ["machine", "run", "hello:latest", "--app", app, "--region"];
    let in_region = |region: &'static str| cli.run(run.into_iter().chain([region]));
    in_region("fra").ok();
    let listed = cli.run(["machine", "list", "--app", app]);
    assert!(listed.ok().contains("fra"), "{listed:?}");
    let refused = in_region("waw");
    assert!(
        refused.refused().contains("nearest here: fra"),
        "{refused:?}"
    );
    let regions = cli.run(["platform", "regions"]);
    for region in REGIONS {
        assert!(regions.ok().contains(region), "{regions:?}");
    }
    let status = cli.run(["status"]);
    assert!(
        status.ok().contains("Hosts") && status.ok().contains("127.0.0.3:"),
        "{status:?}"
    );
}

#[test]
fn the_way_between_regions_takes_its_time_when_emulated() {
    let config = "[latency.round_trips]\niad-nrt = \"250ms\"\n";
    let stage = Stage::set_with(CloudOptions {
        config: Some(config.to_owned()),
        arguments: vec![
            "--regions".to_owned(),
            REGIONS.join(","),
            "--emulate-latency".to_owned(),
        ],
        ..CloudOptions::default()
    });
    server(&stage, "nrt", "far-region-1");
    let visit = |index: u8| {
        wait_for("the app answers", || {
            let answer = stage.cloud.visit_region(index, &stage.app, "/").ok()?;
            (answer.status == 200).then_some(())
        });
        let began = std::time::Instant::now();
        let answer = stage.cloud.visit_region(index, &stage.app, "/").unwrap();
        assert_eq!(answer.status, 200);
        began.elapsed()
    };
    let way = Duration::from_millis(250);
    let far = visit(0);
    assert!(far >= way, "{far:?}");
    // On a busy machine a visit may take as long for other reasons, but not each.
    wait_for("a visit in the region does not go that way", || {
        (visit(2) < way).then_some(())
    });
}
