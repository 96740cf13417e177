//! Hosts that are emptied, with hosts that do at once what they are told.

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{By, NewVolume};
use mayfly_host_api::{Filesystem, HostApi, VolumeSpec};
use mayfly_runtime::Clock;
use serde_json::{Value, json};

use crate::fake_host::FakeHost;
use crate::stage::{Stage, found, sleeper, until};

const MACHINES: &str = "/v1/apps/stage/machines";
const DRAIN: &str = "/v1/hosts/11112222/drain";
const VOLUME: &str = "vol_0123456789abcdef";

/// Two hosts of one region beside the usual one of another.
async fn stage() -> (Stage, Arc<FakeHost>, Arc<FakeHost>) {
    let (old, new) = (
        FakeHost::of("11112222", "fra"),
        FakeHost::of("33334444", "fra"),
    );
    let stage = Stage::set_with(vec![old.clone(), new.clone()]).await;
    (stage, old, new)
}

/// A machine on the host that will be emptied.
async fn machine(stage: &Stage, body: Value) -> String {
    let cordon = "/v1/hosts/33334444/cordon";
    stage.post(cordon, json!({})).await.expect(200);
    let mut request = json!({"region": "fra", "config": sleeper()});
    for (key, value) in body.as_object().unwrap() {
        request[key] = value.clone();
    }
    let made = stage.post(MACHINES, request).await.expect(200);
    let uncordon = "/v1/hosts/33334444/uncordon";
    stage.post(uncordon, json!({})).await.expect(200);
    made["id"].as_str().unwrap().to_owned()
}

/// Lets time pass until every machine has moved or stays; how they stand.
async fn settled(stage: &Stage) -> Vec<Value> {
    found("the host is settled", async || {
        let shown = stage.get(DRAIN).await.expect(200);
        let machines = shown["machines"].as_array().unwrap().clone();
        let open = |one: &Value| one["state"] == "waiting" || one["state"] == "moving";
        if !machines.iter().any(open) {
            return Some(machines);
        }
        stage.clock.advance(Duration::from_secs(1));
        None
    })
    .await
}

async fn one(stage: &Stage, id: &Value) -> Value {
    let path = format!("{MACHINES}/{}", id.as_str().unwrap());
    stage.get(&path).await.expect(200)
}

#[tokio::test]
async fn machines_of_a_drained_host_are_replaced_elsewhere() {
    let (stage, old, new) = stage().await;
    let mut config = sleeper();
    config["metadata"] = json!({"fly_process_group": "web"});
    let running = machine(&stage, json!({ "config": config })).await;
    let stopped = machine(&stage, json!({"skip_launch": true})).await;
    let mut standby = sleeper();
    standby["standbys"] = json!([running]);
    standby["env"] = json!({"FLY_STANDBY_FOR": running});
    let standby = json!({"region": "iad", "config": standby});
    let standby = stage.post(MACHINES, standby).await.expect(200);
    let mut with_volume = sleeper();
    with_volume["mounts"] = json!([{"volume": VOLUME, "path": "/data"}]);
    let volume = VolumeSpec {
        volume_id: VOLUME.parse().unwrap(),
        size_gib: 1,
        filesystem: Filesystem::Ext4,
    };
    old.create_volume(volume).await.expect("the volume");
    let app = stage.store.app("stage".parse().unwrap()).await.unwrap();
    let recorded = NewVolume {
        id: volume.volume_id,
        app_id: app.id,
        name: "data".to_owned(),
        region: "fra".parse().unwrap(),
        host_id: old.id,
        size_gb: volume.size_gib,
        fstype: "ext4".to_owned(),
        snapshot_retention: 5,
        scheduled_snapshots: true,
    };
    let by = By::platform(stage.clock.now());
    let recorded = stage
        .store
        .create_volume(recorded, by.clone())
        .await
        .unwrap();
    stage.store.volume_made(recorded.id, by).await.unwrap();
    let with_volume = machine(&stage, json!({ "config": with_volume })).await;

    let begun = stage.post(DRAIN, json!({})).await.expect(200);
    assert_eq!(begun["draining"], true);
    assert_eq!(begun["machines"].as_array().unwrap().len(), 3);
    let machines = settled(&stage).await;
    let of = |id: &str| machines.iter().find(|one| one["id"] == *id).unwrap();

    let replacement = one(&stage, &of(&running)["replacement"]).await;
    assert_eq!(
        (&replacement["state"], &replacement["region"]),
        (&json!("started"), &json!("fra"))
    );
    assert_eq!(replacement["config"]["metadata"], config["metadata"]);
    assert_eq!(
        one(&stage, &of(&stopped)["replacement"]).await["state"],
        "stopped"
    );
    assert_eq!(of(&with_volume)["state"], "stays");
    assert!(
        of(&with_volume)["reason"]
            .as_str()
            .unwrap()
            .contains("volume")
    );
    assert_eq!(old.machines().len(), 1, "what stays");
    assert_eq!(new.machines().len(), 2);
    let standby = one(&stage, &standby["id"]).await;
    assert_eq!(standby["config"]["standbys"], json!([replacement["id"]]));
    assert_eq!(
        standby["config"]["env"]["FLY_STANDBY_FOR"],
        replacement["id"]
    );

    let host = stage.get("/v1/hosts/11112222").await.expect(200);
    assert_eq!(
        (&host["cordoned"], &host["draining"]),
        (&json!(true), &json!(true))
    );
    let host = stage.delete(DRAIN).await.expect(200);
    assert_eq!(
        (&host["cordoned"], &host["draining"]),
        (&json!(false), &json!(false))
    );
}

#[tokio::test]
async fn a_drain_goes_on_after_a_crash() {
    let (stage, old, new) = stage().await;
    let first = machine(&stage, json!({})).await;
    // The replacement is recorded, and the host never hears of it.
    new.fail("create", true);
    stage.post(DRAIN, json!({})).await.expect(200);
    until("the replacement cannot be made", async || {
        let shown = stage.get(DRAIN).await.expect(200);
        shown["machines"][0]["reason"].is_string()
    })
    .await;
    let stage = stage.restart().await;
    new.fail("create", false);
    let machines = settled(&stage).await;
    assert_eq!(machines.len(), 1, "{machines:?}");
    assert_eq!(machines[0]["id"], first);
    assert_eq!(machines[0]["state"], "moved", "{machines:?}");
    assert_eq!((old.machines().len(), new.machines().len()), (0, 1));
}

#[tokio::test]
async fn what_cannot_move_stays_with_the_reason() {
    let stage = Stage::set_with(vec![FakeHost::of("11112222", "fra")]).await;
    let body = json!({"region": "fra", "config": sleeper()});
    let made = stage.post(MACHINES, body).await.expect(200);
    stage.post(DRAIN, json!({})).await.expect(200);
    let machines = settled(&stage).await;
    assert_eq!(machines[0]["id"], made["id"]);
    assert_eq!(
        machines[0]["reason"],
        "no other host of region fra takes machines"
    );

    // A replacement that fails is taken away, and what it should have replaced runs on.
    let (stage, old, new) = self::stage().await;
    let kept = machine(&stage, json!({})).await;
    stage.post(DRAIN, json!({})).await.expect(200);
    let failed = async {
        while new.machines().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        new.exit(new.machines()[0], 1);
        settled(&stage).await
    };
    let machines = tokio::time::timeout(Duration::from_secs(60), failed)
        .await
        .expect("the move fails");
    assert_eq!(machines[0]["state"], "stays", "{machines:?}");
    let reason = machines[0]["reason"].as_str().unwrap();
    assert!(reason.contains("ended with an error"), "{reason}");
    assert_eq!((old.machines().len(), new.machines().len()), (1, 0));
    assert_eq!(one(&stage, &json!(kept)).await["state"], "started");
    // Asked again, it is tried again.
    stage.post(DRAIN, json!({})).await.expect(200);
    let machines = settled(&stage).await;
    assert_eq!(machines[0]["state"], "moved", "{machines:?}");
}

#[tokio::test]
async fn a_host_that_is_used_again_keeps_what_was_about_to_move() {
    let (stage, old, new) = stage().await;
    // The replacement's check is never heard of.
    let mut config = sleeper();
    config["checks"] = json!({"alive": {"type": "tcp", "port": 80}});
    let kept = machine(&stage, json!({ "config": config })).await;
    stage.post(DRAIN, json!({})).await.expect(200);
    let until = async |replacements: usize| {
        let changed = async {
            while new.machines().len() != replacements {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), changed)
            .await
            .expect("the replacement comes and goes")
    };
    until(1).await;
    stage.delete(DRAIN).await.expect(200);
    until(0).await;
    let forgotten = async {
        while !stage.store.host_moves().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten)
        .await
        .expect("the move is forgotten");
    assert_eq!(old.machines()[0].as_str(), kept);
    let machine = one(&stage, &json!(kept)).await;
    assert_eq!(machine["state"], "started");
}
