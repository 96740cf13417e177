//! Volumes, and the machines and releases that have them, on hosts that do at once what they are told.

use std::time::Duration;

use mayfly_host_api::HostApi;
use serde_json::{Value, json};

use crate::fake_host::FakeHost;
use crate::releases::{ended, release};
use crate::stage::{Stage, sleeper, until};

const VOLUMES: &str = "/v1/apps/stage/volumes";
const MACHINES: &str = "/v1/apps/stage/machines";
const RELEASES: &str = "/v1/apps/stage/releases";

async fn volume(stage: &Stage, more: Value) -> Value {
    let mut body = json!({"name": "data", "size_gb": 2});
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    stage.post(VOLUMES, body).await.expect(200)
}

fn path(volume: &Value) -> String {
    format!("{VOLUMES}/{}", volume["id"].as_str().unwrap())
}

fn mounting(mount: Value) -> Value {
    let mut config = sleeper();
    config["mounts"] = json!([mount]);
    json!({ "config": config })
}

async fn volumes(stage: &Stage) -> Vec<Value> {
    let all = stage.get(VOLUMES).await.expect(200);
    all.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_volume_is_made_changed_and_destroyed() {
    let stage = Stage::set().await;
    for (body, text) in [
        (json!({}), "name must be 1 to 30"),
        (json!({"name": "Data"}), "name must be 1 to 30"),
        (
            json!({"name": "d", "size_gb": 501}),
            "size_gb must be a number of GB from 1 to 500, got 501",
        ),
        (
            json!({"name": "d", "region": "xyz"}),
            "region: region \"xyz\" has no hosts",
        ),
        (
            json!({"name": "d", "snapshot_id": "vs_1"}),
            "snapshot_id: this cloud makes no snapshots",
        ),
        (
            json!({"name": "d", "fstype": "xfs"}),
            "fstype must be one of ext4, raw",
        ),
        (
            json!({"name": "d", "snapshot_retention": 61}),
            "snapshot_retention must be",
        ),
    ] {
        let refused = stage.post(VOLUMES, body).await.refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    let made = volume(&stage, json!({"encrypted": true})).await;
    for (field, value) in [
        ("state", json!("created")),
        ("size_gb", json!(2)),
        ("region", json!("iad")),
        ("zone", json!("0a0b")),
        ("encrypted", json!(false)),
        ("attached_machine_id", json!(null)),
        ("attached_alloc_id", json!(null)),
        ("snapshot_retention", json!(5)),
        ("auto_backup_enabled", json!(true)),
        ("host_status", json!("ok")),
        ("fstype", json!("ext4")),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let path = path(&made);
    assert_eq!(stage.get(&path).await.expect(200)["id"], made["id"]);
    let of_org = stage.get("/v1/orgs/personal/volumes").await.expect(200);
    assert_eq!(of_org["volumes"][0]["app_name"], "stage");

    let extend = format!("{path}/extend");
    let less = stage.put(&extend, json!({"size_gb": 1})).await.refused(422);
    assert!(less.contains("cannot get smaller"), "{less}");
    let grown = stage.put(&extend, json!({"size_gb": 7})).await.expect(200);
    assert_eq!(
        (&grown["volume"]["size_gb"], &grown["needs_restart"]),
        (&json!(7), &json!(false))
    );
    let updated = stage
        .put(&path, json!({"snapshot_retention": 9}))
        .await
        .expect(200);
    assert_eq!(updated["snapshot_retention"], 9);
    assert_eq!(
        stage.get(&format!("{path}/snapshots")).await.expect(200),
        json!([])
    );
    let none = stage.post(&format!("{path}/snapshots"), json!({})).await;
    assert!(none.refused(422).contains("no snapshots"));

    let gone = stage.delete(&path).await.expect(200);
    assert_eq!(gone["state"], "pending_destroy");
    let back = stage
        .post(&format!("{path}/restore"), json!({}))
        .await
        .expect(200);
    assert_eq!(back["state"], "created");
    stage.delete(&path).await.expect(200);
    assert_eq!(
        stage.host.volumes().await.unwrap().len(),
        1,
        "the data is kept"
    );
    stage.clock.advance(Duration::from_secs(24 * 3600 + 1));
    until("the host has removed it", async || {
        stage.host.volumes().await.unwrap().is_empty() && volumes(&stage).await.is_empty()
    })
    .await;
    assert_eq!(stage.get(&path).await.expect(200)["state"], "destroyed");
    let other = stage.get(&format!("{VOLUMES}/vol_000000000000zzzz")).await;
    assert!(other.refused(404).contains("was not found in app stage"));
}

#[tokio::test]
async fn a_host_that_fails_makes_nothing_that_lasts() {
    let stage = Stage::set().await;
    stage.host.fail("create_volume", true);
    let body = json!({"name": "data", "size_gb": 2});
    stage.post(VOLUMES, body).await.refused(503);
    until("the volume is given up", async || {
        volumes(&stage).await.is_empty()
    })
    .await;
    stage.host.fail("create_volume", false);
    let made = volume(&stage, json!({})).await;
    // An extension is finished when the host answers again.
    stage.host.fail("extend_volume", true);
    let extend = format!("{}/extend", path(&made));
    stage.put(&extend, json!({"size_gb": 4})).await.refused(503);
    assert_eq!(
        stage.get(&path(&made)).await.expect(200)["state"],
        "extending"
    );
    stage.host.fail("extend_volume", false);
    until("the volume is larger", async || {
        let shown = stage.get(&path(&made)).await.expect(200);
        shown["state"] == "created" && shown["size_gb"] == 4
    })
    .await;
}

#[tokio::test]
async fn a_machine_has_the_volume_it_names() {
    let stage = Stage::set_with(vec![FakeHost::of("0b0b0b0b", "lhr")]).await;
    let here = volume(&stage, json!({"region": "lhr"})).await;
    let id = here["id"].as_str().unwrap();
    let by_id = |region: &str| {
        let mut order = mounting(json!({"volume": id, "path": "/data"}));
        order["region"] = json!(region);
        order
    };
    let wrong = stage.post(MACHINES, by_id("iad")).await.refused(422);
    assert!(
        wrong.contains(&format!(
            "volume {id} was not found in region iad: it is in lhr"
        )),
        "{wrong}"
    );
    let nothing = mounting(json!({"volume": "vol_000000000000zzzz", "path": "/data"}));
    let nothing = stage.post(MACHINES, nothing).await.refused(422);
    assert!(nothing.contains("was not found in app stage"), "{nothing}");

    // Without a region the volume decides.
    let machine = stage.post(MACHINES, by_id("")).await.expect(200);
    assert_eq!(machine["region"], "lhr");
    assert_eq!(
        machine["config"]["mounts"],
        json!([{"volume": id, "path": "/data", "name": "data"}])
    );
    let shown = stage.get(&path(&here)).await.expect(200);
    assert_eq!(shown["attached_machine_id"], machine["id"]);
    let taken = stage.post(MACHINES, by_id("lhr")).await.refused(409);
    assert!(taken.contains("is attached to machine"), "{taken}");
    let refused = stage.delete(&path(&here)).await.refused(409);
    assert!(refused.contains("is attached to machine"), "{refused}");

    let machine = format!("{MACHINES}/{}", machine["id"].as_str().unwrap());
    // An update that names it keeps it; one without gives it back.
    let named = mounting(json!({"name": "data", "path": "/else"}));
    let updated = stage.post(&machine, named).await.expect(200);
    assert_eq!(updated["config"]["mounts"][0]["volume"], id);
    stage
        .post(&machine, json!({"config": sleeper()}))
        .await
        .expect(200);
    assert_eq!(
        stage.get(&path(&here)).await.expect(200)["attached_machine_id"],
        json!(null)
    );
    stage
        .post(&machine, mounting(json!({"volume": id, "path": "/data"})))
        .await
        .expect(200);
    stage
        .delete(&format!("{machine}?force=true"))
        .await
        .expect(200);
    until("the volume is free", async || {
        let shown = stage.get(&path(&here)).await.expect(200);
        shown["attached_machine_id"].is_null()
    })
    .await;
    stage.delete(&path(&here)).await.expect(200);
}

#[tokio::test]
async fn machines_asked_for_at_once_have_volumes_of_their_own() {
    let stage = Stage::set().await;
    let mut free = Vec::new();
    for _ in 0..3 {
        free.push(volume(&stage, json!({})).await["id"].clone());
    }
    let order = || stage.post(MACHINES, mounting(json!({"name": "data", "path": "/data"})));
    let (one, two, three) = tokio::join!(order(), order(), order());
    let mut used: Vec<Value> = [one, two, three]
        .map(|made| made.expect(200)["config"]["mounts"][0]["volume"].clone())
        .into();
    used.sort_by_key(Value::to_string);
    free.sort_by_key(Value::to_string);
    assert_eq!(used, free);
    let none = order().await.refused(422);
    assert!(
        none.contains("app stage has no free volume \"data\""),
        "{none}"
    );
    let sized = mounting(json!({"name": "data", "path": "/data", "size_gb": 4}));
    stage.post(MACHINES, sized.clone()).await.expect(200);
    let all = volumes(&stage).await;
    assert_eq!(all.iter().filter(|one| one["size_gb"] == 4).count(), 1);
    // A machine that cannot be made leaves no volume behind.
    stage.host.fail("resolve_image", true);
    stage.post(MACHINES, sized).await.refused(503);
    stage.host.fail("resolve_image", false);
    until("what nobody got is gone", async || {
        volumes(&stage).await.len() == 4
    })
    .await;
}

fn config(more: Value) -> Value {
    let mut config = json!({"app": "stage", "mounts": [{"source": "data", "destination": "/data", "initial_size": "2gb"}]});
    let fields = config.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    config
}

async fn deployed(stage: &Stage, version: u32, more: Value) -> Vec<Value> {
    stage.post(RELEASES, release(more)).await.expect(201);
    let shown = ended(stage, version).await;
    assert_eq!(shown["status"], "complete", "{shown}");
    machines(stage).await
}

async fn machines(stage: &Stage) -> Vec<Value> {
    let machines = stage.get(MACHINES).await.expect(200);
    machines.as_array().unwrap().clone()
}

fn volume_of(machine: &Value) -> Value {
    machine["config"]["mounts"][0]["volume"].clone()
}

#[tokio::test]
async fn releases_match_volumes() {
    let stage = Stage::set().await;
    let refused = release(json!({"config": config(json!({})), "strategy": "bluegreen"}));
    let refused = stage.post(RELEASES, refused).await.refused(422);
    assert!(
        refused.contains("strategy bluegreen is not possible with mounts"),
        "{refused}"
    );
    // The first makes what it needs: one machine, and its volume.
    let first = deployed(&stage, 1, json!({"config": config(json!({})), "ha": true})).await;
    assert_eq!(first.len(), 1, "{first:?}");
    let all = volumes(&stage).await;
    assert_eq!(
        (all.len(), &all[0]["size_gb"], &all[0]["name"]),
        (1, &json!(2), &json!("data"))
    );
    assert_eq!(all[0]["attached_machine_id"], first[0]["id"]);
    // The next keeps it.
    let second = deployed(
        &stage,
        2,
        json!({"config": config(json!({"env": {"A": "1"}}))}),
    )
    .await;
    assert_eq!(
        (&second[0]["id"], volume_of(&second[0])),
        (&first[0]["id"], all[0]["id"].clone())
    );
    // Another name needs another volume, which is not made by itself.
    let renamed = config(json!({"mounts": [{"source": "other", "destination": "/data"}]}));
    let body = release(json!({"config": renamed}));
    let lacking = stage.post(RELEASES, body.clone()).await.refused(422);
    assert!(
        lacking.contains("needs volumes with name 'other' to fulfill mounts defined in fly.toml"),
        "{lacking}"
    );
    assert!(lacking.contains("counts: iad=1"), "{lacking}");
    volume(&stage, json!({"name": "other"})).await;
    let third = deployed(&stage, 3, json!({"config": renamed})).await;
    assert_eq!(third.len(), 1);
    assert_ne!(third[0]["id"], first[0]["id"], "it is replaced");
    assert_eq!(third[0]["config"]["mounts"][0]["name"], "other");
    // The old volume is there, and free; so it is used when the mount comes back.
    let fourth = deployed(&stage, 4, json!({"config": config(json!({}))})).await;
    assert_eq!(volume_of(&fourth[0]), all[0]["id"]);
}

#[tokio::test]
async fn an_app_that_gets_mounts_gets_other_machines() {
    let stage = Stage::set().await;
    let before = deployed(&stage, 1, json!({"config": {"app": "stage"}})).await;
    let body = release(json!({"config": config(json!({}))}));
    stage.post(RELEASES, body).await.refused(422);
    volume(&stage, json!({})).await;
    let after = deployed(&stage, 2, json!({"config": config(json!({}))})).await;
    assert_eq!(after.len(), 1);
    assert_ne!(after[0]["id"], before[0]["id"]);
    assert!(!volume_of(&after[0]).is_null());
}

#[tokio::test]
async fn scaling_up_uses_what_is_free_and_makes_the_rest() {
    let stage = Stage::set().await;
    let first = deployed(&stage, 1, json!({"config": config(json!({}))})).await;
    let extend = format!(
        "{VOLUMES}/{}/extend",
        volume_of(&first[0]).as_str().unwrap()
    );
    stage.put(&extend, json!({"size_gb": 4})).await.expect(200);
    let free = volume(&stage, json!({})).await;
    let count = "/v1/apps/stage/scale/count";
    let mut wish = json!({"counts": {"app": "3"}, "plan": true});
    let plan = stage.post(count, wish.clone()).await.expect(200);
    assert_eq!(
        (
            &plan["plan"][0]["new_volumes"],
            &plan["plan"][0]["reused_volumes"]
        ),
        (&json!(1), &json!(1))
    );
    wish["plan"] = json!(false);
    stage.post(count, wish).await.expect(201);
    assert_eq!(ended(&stage, 2).await["status"], "complete");
    let mut sizes: Vec<i64> = volumes(&stage)
        .await
        .iter()
        .filter(|volume| !volume["attached_machine_id"].is_null())
        .map(|volume| volume["size_gb"].as_i64().unwrap())
        .collect();
    sizes.sort_unstable();
    // The new one is as large as the largest that was there.
    assert_eq!(sizes, [2, 4, 4]);
    let used = machines(&stage)
        .await
        .iter()
        .any(|one| volume_of(one) == free["id"]);
    assert!(used);
    // Down keeps the volumes.
    stage
        .post(count, json!({"counts": {"app": "1"}}))
        .await
        .expect(201);
    assert_eq!(ended(&stage, 3).await["status"], "complete");
    assert_eq!(volumes(&stage).await.len(), 3);
    stage
        .post(
            count,
            json!({"counts": {"app": "2"}, "with_new_volumes": true}),
        )
        .await
        .expect(201);
    assert_eq!(ended(&stage, 4).await["status"], "complete");
    assert_eq!(volumes(&stage).await.len(), 4);
}
