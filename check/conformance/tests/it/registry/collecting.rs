use std::fs;

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, Method, send, wait_until};
use serde_json::json;

use super::{clients_of, in_registry};

const CONFIG: &str =
    "[registry]\ncollect_period = \"200ms\"\nuploads_kept = \"6s\"\nuntagged_kept = \"1s\"\n";

fn blobs(stage: &Stage) -> usize {
    let blobs = fs::read_dir(stage.cloud.data_dir().join("registry/blobs"));
    blobs.unwrap().count()
}

#[test]
fn what_machines_and_releases_need_stays_and_the_rest_goes() {
    let stage = Stage::set_with(CloudOptions {
        config: Some(CONFIG.to_owned()),
        ..CloudOptions::default()
    });
    stage.create_app("gone", "personal");
    let clients = clients_of(&stage);
    let (first, second) = (clients.image("first", 1 << 20), clients.image("second", 9));
    let target = in_registry(&stage, "stage:latest");
    clients.copy(&first, &target).unwrap();
    clients
        .copy(&first, &in_registry(&stage, "gone:v1"))
        .unwrap();
    let id = stage.start(json!({"image": "registry.fly.io/stage"}));
    clients.copy(&second, &target).unwrap();
    // An upload that nobody goes on with.
    let bearer = format!("Bearer {}", stage.cloud.token());
    let fields = [("authorization", bearer.as_str())];
    let api = stage.cloud.api();
    let begun = send(api, Method::Post, "/v2/stage/blobs/uploads/", &fields, b"").unwrap();
    assert_eq!(begun.status, 202);

    let registry = stage.cloud.data_dir().join("registry");
    wait_until("the upload is given up", || {
        fs::read_dir(registry.join("uploads")).unwrap().count() == 0
    });
    // The first image has no tag any more, and runs.
    let digest = clients.digest("first");
    let ask = |method, path: &str| send(api, method, path, &fields, b"").unwrap();
    let manifest = format!("/v2/stage/manifests/{digest}");
    assert_eq!(ask(Method::Get, &manifest).status, 200);
    assert_eq!(ask(Method::Delete, &manifest).status, 409);
    stage.act(&id, "restart", json!({}));
    stage.wait(&id, "started");

    stage.destroy(&id);
    wait_until("nobody needs the first image", || {
        ask(Method::Get, &manifest).status == 404
    });
    // Its layers go when the app does that has them still.
    let before = blobs(&stage);
    stage.cloud.delete("/v1/apps/gone").ok();
    wait_until("the layers of a deleted app go", || blobs(&stage) < before);
    assert_eq!(ask(Method::Get, "/v2/stage/manifests/latest").status, 200);
    let out = format!("oci:{}:image:v1", clients.path("out").display());
    clients.copy(&target, &out).unwrap();
}
