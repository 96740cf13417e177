//! The registry of a cloud by stock clients: what they push machines run, and nobody else's they see.

use std::path::Path;
use std::process::Command;

use mayfly_conformance::Stage;
use mayfly_testing::TestImage;
use serde_json::{Value, json};

/// Runs a stock client to its end; what it printed, or what it complained of.
fn client(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} (./dev setup installs it): {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(said(&output.stdout)),
        false => Err(said(&output.stderr)),
    }
}

fn skopeo_copy(token: &str, from: &str, to: &str) -> Result<String, String> {
    let mut arguments = vec!["copy", "--insecure-policy"];
    let credentials = format!("x:{token}");
    if from.starts_with("docker://") {
        arguments.extend(["--src-tls-verify=false", "--src-creds", &credentials]);
    }
    if to.starts_with("docker://") {
        arguments.extend(["--dest-tls-verify=false", "--dest-creds", &credentials]);
    }
    arguments.extend([from, to]);
    client("skopeo", &arguments)
}

/// An image of three layers that says `word` and sleeps; as an OCI layout below `directory`.
fn layered(directory: &Path, word: &str) -> String {
    TestImage::busybox()
        .layer()
        .file("/srv/big", 0o644, vec![7; 3 << 20])
        .layer()
        .file("/srv/word", 0o644, word)
        .cmd(&["sh", "-c", "cat /srv/word; exec sleep inf"])
        .write_oci_layout(&directory.join(word), "image:v1")
        .unwrap();
    format!("oci:{}/{word}:image:v1", directory.display())
}

fn in_registry(stage: &Stage, name: &str) -> String {
    format!("docker://{}/{name}", stage.cloud.api())
}

#[test]
fn what_a_client_pushes_machines_run_and_releases_keep() {
    let stage = Stage::set();
    let folder = tempfile::tempdir().unwrap();
    let token = stage.cloud.token();
    let (first, second) = (
        layered(folder.path(), "first"),
        layered(folder.path(), "second"),
    );
    let target = in_registry(&stage, "stage:latest");
    skopeo_copy(token, &first, &target).unwrap();

    for name in ["registry.fly.io", "registry.mayfly.localhost"] {
        let image = format!("{name}/stage:latest");
        let id = stage.start(json!({"image": image, "restart": {"policy": "no"}}));
        stage.line_with(&id, "first");
        let machine = stage.get(&id);
        assert_eq!(machine["image_ref"]["registry"], name);
        assert_eq!(machine["image_ref"]["repository"], "stage");
    }
    // A tag that moves on does not move what was made of it.
    let machine =
        stage.create(json!({"image": "registry.fly.io/stage", "restart": {"policy": "no"}}));
    let id = machine["id"].as_str().unwrap().to_owned();
    skopeo_copy(token, &second, &target).unwrap();
    stage.wait(&id, "started");
    stage.act(&id, "restart", json!({}));
    stage.line_with(&id, "first");
    let lines = stage.log_lines(&id);
    assert!(
        !lines.iter().any(|line| line.contains("second")),
        "{lines:?}"
    );

    let out = format!("oci:{}/out:image:v1", folder.path().display());
    skopeo_copy(token, &target, &out).unwrap();
    let manifest = |layout: &str| {
        let index = std::fs::read(folder.path().join(layout).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(manifest("out"), manifest("second"));
}
