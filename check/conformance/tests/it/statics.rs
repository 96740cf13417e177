//! Files that the edge serves by itself: of the image, and of buckets.

use std::fs;

use mayfly_conformance::{Stage, Storage};
use mayfly_testing::{Answer, CloudOptions, wait_until};
use serde_json::json;

fn visit(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Answer {
    Stage::ask(stage.cloud.edge(), &stage.app, path, fields)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the app itself has answered.
fn is_app(answer: &Answer) -> bool {
    answer.json()["app"] == "stage"
}

#[test]
fn files_of_images_and_buckets_are_served_and_compressed() {
    let sheet = "body { color: teal }\n".repeat(200);
    let guarded = Storage::guarded(&[
        ("assets/site/a b.css", sheet.as_str()),
        ("assets/site/index.html", "<h1>top</h1>"),
        ("assets/site/deep/index.html", "<h1>deep</h1>"),
        ("wrong/site/index.html", "not to be seen"),
    ]);
    let open = Storage::open(&[("open/site/file.txt", "for everybody")]);
    let secrets = tempfile::tempdir().unwrap();
    let (good, bad) = (secrets.path().join("good"), secrets.path().join("bad"));
    fs::write(&good, format!("{}\n", Storage::KEY.1)).unwrap();
    fs::write(&bad, "another\n").unwrap();
    let bucket = |name: &str, storage: &Storage, rest: String| {
        let url = storage.url();
        format!("[statics.buckets.{name}]\nendpoint = \"{url}\"\n{rest}\n")
    };
    let key = |file: &std::path::Path| {
        let id = Storage::KEY.0;
        format!("access_key_id = \"{id}\"\nsecret_access_key_file = {file:?}")
    };
    let config = [
        bucket("assets", &guarded, key(&good)),
        bucket("open", &open, "apps = [\"stage\"]".to_owned()),
        bucket("wrong", &guarded, key(&bad)),
        bucket("others", &open, "apps = [\"other\"]".to_owned()),
    ]
    .concat();
    let stage = Stage::set_with(CloudOptions {
        config: Some(config),
        ..CloudOptions::default()
    });
    stage.import_echo();
    let ports = json!([{"port": 80, "handlers": ["http"], "http_options": {"compress": true}}]);
    let mut config = Stage::echo(json!({"ports": ports, "autostart": false}));
    let from = |bucket: &str| {
        json!({"guest_path": "/site", "url_prefix": format!("/{bucket}"), "tigris_bucket": bucket,
            "index_document": "index.html"})
    };
    config["statics"] = json!([
        {"guest_path": "/srv/public", "url_prefix": "/public"},
        from("assets"), from("open"), from("wrong"), from("others"), from("nowhere"),
    ]);
    let id = stage.start(config);
    wait_until("the app answers", || is_app(&visit(&stage, "/", &[])));

    of_the_image(&stage);
    of_buckets(&stage);
    // Files of a machine that rests are there all the same.
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    wait_until("the app is asleep", || {
        visit(&stage, "/", &[]).status == 503
    });
    assert_eq!(visit(&stage, "/public/style.css", &[]).status, 200);
    assert_eq!(visit(&stage, "/assets/", &[]).text(), "<h1>top</h1>");
    drop(open);
    let answer = visit(&stage, "/open/file.txt", &[("accept", "application/json")]);
    assert_eq!(answer.json()["code"], "PR05", "{}", answer.text());
}

fn of_the_image(stage: &Stage) {
    let path = "/public/style.css";
    let plain = visit(stage, path, &[]);
    assert_eq!(
        (plain.status, plain.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert_eq!(plain.body, b"body { color: teal }\n".repeat(200));
    for coding in ["gzip", "br", "zstd"] {
        let coded = visit(stage, path, &[("accept-encoding", coding)]);
        assert_eq!(coded.header("content-encoding"), Some(coding));
        assert!(coded.body.len() < plain.body.len() / 4, "{coding}");
    }
    let etag = plain.header("etag").unwrap();
    assert_eq!(visit(stage, path, &[("if-none-match", etag)]).status, 304);
    let part = visit(stage, path, &[("range", "bytes=7-11")]);
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, b"color".as_slice())
    );
    assert!(is_app(&visit(stage, "/public/nothing.css", &[])));
    // Without an index document a directory is no file (documented for files of images).
    assert!(is_app(&visit(stage, "/public/deep/", &[])));
    assert_eq!(
        visit(stage, "/public/deep/index.html", &[]).text(),
        "<h1>deep</h1>\n"
    );
    for outside in ["/public/../etc/passwd", "/public/%2e%2e/%2e%2e/etc/passwd"] {
        assert!(
            !visit(stage, outside, &[]).text().contains("root:"),
            "{outside}"
        );
    }
    // The program's own answers are compressed too.
    let coded = visit(stage, "/?pad=1000", &[("accept-encoding", "gzip")]);
    assert_eq!(coded.header("content-encoding"), Some("gzip"));
}

fn of_buckets(stage: &Stage) {
    let path = "/assets/a%20b.css";
    let file = visit(stage, path, &[]);
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, Some("text/css; charset=utf-8")),
        "{}",
        file.text()
    );
    assert_eq!(file.body, b"body { color: teal }\n".repeat(200));
    let etag = file.header("etag").unwrap();
    assert_eq!(visit(stage, path, &[("if-none-match", etag)]).status, 304);
    let part = visit(stage, path, &[("range", "bytes=7-11")]);
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, b"color".as_slice())
    );
    let coded = visit(stage, path, &[("accept-encoding", "br")]);
    assert_eq!(coded.header("content-encoding"), Some("br"));
    for (path, text) in [
        ("/assets/", "<h1>top</h1>"),
        ("/assets", "<h1>top</h1>"),
        ("/assets/deep/", "<h1>deep</h1>"),
        ("/open/file.txt", "for everybody"),
    ] {
        assert_eq!(visit(stage, path, &[]).text(), text, "{path}");
    }
    assert!(is_app(&visit(stage, "/assets/nothing", &[])));
    for (path, words) in [
        ("/wrong/index.html", "answered 403"),
        ("/others/file.txt", "may not use bucket others"),
        (
            "/nowhere/file.txt",
            "bucket nowhere is not one of this cloud's",
        ),
    ] {
        let answer = visit(stage, path, &[("accept", "application/json")]);
        assert_eq!(answer.json()["code"], "PR05", "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
}
