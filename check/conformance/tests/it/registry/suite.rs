use std::process::Command;

use mayfly_conformance::{Stage, tool};

/// SHA-512 is left out: this cloud knows content by SHA-256, as every builder pushes it.
#[test]
fn the_conformance_suite_of_the_distribution_specification_passes() {
    let stage = Stage::set();
    stage.create_app("second", "personal");
    let results = tempfile::tempdir().unwrap();
    let output = Command::new(tool("registry-suite"))
        .current_dir(results.path())
        .env("OCI_REGISTRY", stage.cloud.api().to_string())
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", "stage/suite")
        .env("OCI_REPO2", "second")
        .env("OCI_USERNAME", "x")
        .env("OCI_PASSWORD", stage.cloud.token())
        .env("OCI_VERSION", "1.1")
        .env("OCI_API_BLOBS_DIGEST_HEADER", "true")
        .env("OCI_API_BLOBS_UPLOAD_CANCEL", "true")
        .env("OCI_API_MANIFESTS_DIGEST_HEADER", "true")
        .env("OCI_DATA_SHA512", "false")
        .env("OCI_RESULTS_DIR", results.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    let report = std::fs::read_to_string(results.path().join("junit.xml")).unwrap();
    let count = |name: &str| -> u32 {
        let (_, after) = report.split_once(&format!(" {name}=\"")).unwrap();
        after.split('"').next().unwrap().parse().unwrap()
    };
    assert!(count("tests") > 600, "{}", count("tests"));
    assert_eq!((count("failures"), count("errors")), (0, 0), "{said}");
}
