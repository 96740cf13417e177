use std::fs;

use serde_json::json;

use crate::runner::{User, assert_golden};
use crate::server::Server;

fn image() -> serde_json::Value {
    json!({
        "image": "docker.io/library/app:1@sha256:0123456789abcdef0123", "digest": "sha256:0123456789abcdef0123",
        "size_bytes": 72_340_000, "layers": 4, "architecture": "amd64", "created_at": "2020-01-02T03:04:05Z",
        "ready": true, "used_by": 2, "labels": { "version": "1" },
    })
}

fn cloud() -> Server {
    let server = Server::start();
    server
        .says("POST /v1/images", 200, json!({ "images": [image()] }))
        .says("POST /v1/images/pull", 200, image())
        .says("GET /v1/images", 200, json!({ "images": [image()] }))
        .says("GET /v1/images/show?image=app%3A1", 200, image());
    server
}

#[test]
fn images_are_listed_and_shown() {
    let server = cloud();
    let user = User::of(&server);
    assert_golden("image_list.txt", user.run("image list").ok());
    assert_golden("image_show.txt", user.run("image show app:1").ok());
    assert_eq!(user.run("images ls --json").json(), json!([image()]));
}

#[test]
fn files_and_standard_input_are_sent_as_they_are() {
    let server = cloud();
    let user = User::of(&server);
    // Larger than any buffer on the way.
    let archive: Vec<u8> = (0..2_000_003_u32).map(|at| (at % 251) as u8).collect();
    fs::write(user.path("app.tar"), &archive).unwrap();
    let imported = user.run("image import app.tar --name app:1");
    assert_eq!(
        imported.ok(),
        "Imported docker.io/library/app:1@sha256:0123456789abcdef0123 (72.3 MB)\n"
    );
    user.run_with_input("image import -", &archive).ok();
    let asked = server.asked_for("POST /v1/images");
    assert_eq!(
        (asked[0].line.as_str(), asked[1].line.as_str()),
        ("POST /v1/images?name=app%3A1", "POST /v1/images")
    );
    assert!(asked.iter().all(|asked| asked.body == archive));
}

#[test]
fn a_directory_is_packed_on_the_way() {
    let server = cloud();
    let user = User::of(&server);
    fs::create_dir_all(user.path("layout/blobs/sha256")).unwrap();
    fs::write(user.path("layout/oci-layout"), "{}").unwrap();
    fs::write(user.path("layout/blobs/sha256/aa"), "blob").unwrap();
    user.run("image import ./layout -n app:1").ok();
    let body = server.asked_for("POST /v1/images")[0].body.clone();
    let mut names: Vec<String> = tar::Archive::new(body.as_slice())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    names.sort();
    assert!(
        names.contains(&"oci-layout".to_owned()) && names.contains(&"blobs/sha256/aa".to_owned()),
        "{names:?}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let server = cloud();
    let ran = User::of(&server).run("image import none.tar");
    assert!(ran.failed().contains("none.tar"), "{ran:?}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_pull_passes_the_login_on() {
    let server = cloud();
    let user = User::of(&server);
    user.run_with_input("image pull app:1 -u ann --password-stdin", b"pw\n")
        .ok();
    assert_eq!(
        server.asked_for("POST /v1/images/pull")[0].json(),
        json!({ "image": "app:1", "username": "ann", "password": "pw" })
    );
    let missing = user.run("image pull app:1 -u ann --password-stdin");
    assert!(missing.failed().contains("--password-stdin"), "{missing:?}");
}
