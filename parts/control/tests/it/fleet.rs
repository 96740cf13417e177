use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::fake_host::FakeHost;
use crate::stage::{Stage, sleeper};

const MACHINES: &str = "/v1/apps/stage/machines";

#[tokio::test]
async fn machines_live_on_a_host_of_their_region() {
    let fra = FakeHost::of("11112222", "fra");
    let stage = Stage::set_with(vec![fra.clone()]).await;
    let asked = json!({"region": "fra", "config": sleeper()});
    let there = stage.post(MACHINES, asked).await.expect(200);
    let (here_path, here) = stage.machine(sleeper()).await;
    assert_eq!(
        (&there["region"], &here["region"]),
        (&json!("fra"), &json!("iad"))
    );
    assert_eq!(fra.machines()[0].as_str(), there["id"]);
    assert_eq!(stage.host.machines()[0].as_str(), here["id"]);
    let there_path = format!("{MACHINES}/{}", there["id"].as_str().unwrap());
    for (path, host) in [(&there_path, &fra), (&here_path, &stage.host)] {
        stage
            .post(&format!("{path}/stop"), json!({}))
            .await
            .expect(200);
        assert_eq!(stage.get(path).await.expect(200)["state"], "stopped");
        stage
            .post(&format!("{path}/start"), json!({}))
            .await
            .expect(200);
        let update = json!({"config": sleeper()});
        stage.post(path, update).await.expect(200);
        let signal = json!({"signal": "SIGUSR1"});
        stage
            .post(&format!("{path}/signal"), signal)
            .await
            .expect(200);
        assert_eq!(host.signals().len(), 1);
    }
    let listed = stage
        .get(&format!("{MACHINES}?region=fra"))
        .await
        .expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let page = stage.get("/api/v1/apps/stage/logs").await.expect(200);
    let mut regions: Vec<&str> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["attributes"]["region"].as_str().unwrap())
        .collect();
    regions.sort_unstable();
    assert_eq!(regions, ["fra", "fra", "fra", "iad", "iad", "iad"]);
    let far = json!({"region": "waw", "config": sleeper()});
    let refusal = stage.post(MACHINES, far).await.refused(422);
    assert!(
        refusal.contains("use one of iad, fra") && refusal.contains("nearest here: fra"),
        "{refusal}"
    );
    for path in [&there_path, &here_path] {
        stage
            .delete(&format!("{path}?force=true"))
            .await
            .expect(200);
    }
    assert!(fra.machines().is_empty() && stage.host.machines().is_empty());
}

#[tokio::test]
async fn a_restart_finds_every_host_where_it_was() {
    let fra = FakeHost::of("11112222", "fra");
    let stage = Stage::set_with(vec![fra.clone()]).await;
    let asked = json!({"region": "fra", "config": sleeper()});
    let there = stage.post(MACHINES, asked).await.expect(200);
    let stage = stage.restart().await;
    fra.exit(there["id"].as_str().unwrap().parse().unwrap(), 3);
    let wait = format!(
        "{MACHINES}/{}/wait?state=stopped&timeout=30",
        there["id"].as_str().unwrap()
    );
    stage.get(&wait).await.expect(200);
    let status = stage.get("/v1/status").await.expect(200);
    assert_eq!(status["hosts"].as_array().unwrap().len(), 2);
    assert_eq!(status["hosts"][1]["region"], "fra");
    // What the pump applied is visible before it says so.
    let pumped = async {
        loop {
            let status = stage.get("/v1/status").await.expect(200);
            if status["loops"].get("control.pump@fra:11112222").is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), pumped)
        .await
        .expect("the other host's pump is among the loops");
}

#[tokio::test]
async fn the_regions_say_what_they_have_and_placements_where_things_go() {
    let others = vec![
        FakeHost::of("11112222", "fra"),
        FakeHost::of("33334444", "fra"),
    ];
    let stage = Stage::set_with(others.clone()).await;
    let regions = stage.get("/v1/platform/regions").await.expect(200);
    let told: Vec<_> = regions["Regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| {
            (
                region["code"].as_str().unwrap(),
                region["capacity"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("iad", 16), ("fra", 32)]);
    // Machines of one app are spread over the hosts of a region, also those asked for at the same time.
    let asked = (0..4).map(|_| json!({"region": "fra", "config": sleeper()}));
    for made in join_all(asked.map(|body| stage.post(MACHINES, body))).await {
        made.expect(200);
    }
    assert_eq!(
        others
            .iter()
            .map(|host| host.machines().len())
            .collect::<Vec<_>>(),
        [2, 2]
    );
    let place = async |body| {
        stage
            .post("/v1/platform/placements", body)
            .await
            .expect(200)["Regions"]
            .clone()
    };
    let small = json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 256});
    assert_eq!(
        place(json!({"region": "fra,iad", "count": 3, "compute": small})).await,
        json!([{"Region": "fra", "Count": 2, "Concurrency": 1}, {"Region": "iad", "Count": 1, "Concurrency": 1}])
    );
    // How many fit: fra has 8192 MiB and has promised 1024.
    assert_eq!(
        place(json!({"region": "any", "count": 0, "compute": small})).await,
        json!([{"Region": "iad", "Count": 16, "Concurrency": 1}, {"Region": "fra", "Count": 28, "Concurrency": 1}])
    );
    let large = json!({"cpu_kind": "performance", "cpus": 2, "memory_mb": 8192});
    assert_eq!(
        place(json!({"region": "any", "count": 0, "compute": large})).await,
        json!([])
    );
    let far = stage
        .post("/v1/platform/placements", json!({"region": "waw"}))
        .await;
    far.refused(422);
}
