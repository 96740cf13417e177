use std::fs;

use mayfly_conformance::{Stage, Storage};
use mayfly_testing::{CloudOptions, Method, send, wait_until};
use serde_json::json;

use super::{clients_of, in_registry};

#[test]
fn layers_lie_in_a_bucket_that_may_be_away() {
    let storage = Storage::guarded(&[("layers/readme", "made by the test")]);
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    fs::write(&key, Storage::KEY.1).unwrap();
    let config = format!(
        "[registry]\ncollect_period = \"200ms\"\nuploads_kept = \"6s\"\nuntagged_kept = \"1s\"\n\
         [registry.bucket]\nendpoint = \"{}\"\nname = \"layers\"\nprefix = \"cloud/one\"\npart_bytes = 5242880\naccess_key_id = \"{}\"\n\
         secret_access_key_file = {key:?}\n",
        storage.url(),
        Storage::KEY.0
    );
    let stage = Stage::set_with(CloudOptions {
        config: Some(config),
        ..CloudOptions::default()
    });
    let clients = clients_of(&stage);
    let image = clients.image("remote", 9 << 20);
    let target = in_registry(&stage, "stage:v1");
    clients.copy(&image, &target).unwrap();
    let out = format!("oci:{}:image:v1", clients.path("out").display());
    clients.copy(&target, &out).unwrap();
    assert_eq!(clients.digest("out"), clients.digest("remote"));
    let id = stage.start(json!({"image": "registry.fly.io/stage:v1"}));
    stage.line_with(&id, "remote");
    let registry = stage.cloud.data_dir().join("registry");
    let count = |place: &str| fs::read_dir(registry.join(place)).unwrap().count();
    // The manifest is here; three layers, one of them in two parts, and the configuration are there.
    assert_eq!((count("blobs"), count("remote")), (1, 4));

    // Parts of a layer come from the bucket as they are asked for.
    let manifest = fs::read(
        clients
            .path("out/blobs/sha256")
            .join(&clients.digest("out")[7..]),
    );
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.unwrap()).unwrap();
    let layer = manifest["layers"][1]["digest"].as_str().unwrap().to_owned();
    let whole = fs::read(clients.path("out/blobs/sha256").join(&layer[7..])).unwrap();
    let bearer = format!("Bearer {}", stage.cloud.token());
    let ask = |range: &str| {
        let fields = [("authorization", bearer.as_str()), ("range", range)];
        let path = format!("/v2/stage/blobs/{layer}");
        send(stage.cloud.api(), Method::Get, &path, &fields, b"").unwrap()
    };
    let part = ask("bytes=1000-1999");
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &whole[1000..2000])
    );

    stage.destroy(&id);
    let fields = [("authorization", bearer.as_str())];
    let path = format!("/v2/stage/manifests/{}", clients.digest("out"));
    let deleted = send(stage.cloud.api(), Method::Delete, &path, &fields, b"").unwrap();
    assert!(matches!(deleted.status, 202 | 409), "{}", deleted.text());
    wait_until("the manifest can be deleted", || {
        let again = send(stage.cloud.api(), Method::Delete, &path, &fields, b"").unwrap();
        matches!(again.status, 202 | 404)
    });
    wait_until("the bucket is empty of it", || {
        count("remote") == 0 && count("leaving") == 0
    });
    clients.copy(&image, &target).unwrap();
    drop(storage);
    let refused = ask("bytes=0-9");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("object storage is away"),
        "{}",
        refused.text()
    );
}
