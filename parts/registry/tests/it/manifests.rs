use mayfly_testing::Method;
use serde_json::json;

use crate::desk::{Desk, MANIFEST, image, subject};

#[test]
fn manifests_are_found_by_tag_and_digest_until_they_are_deleted() {
    let desk = Desk::open();
    let digest = desk.push_image("v1", b"layer");
    desk.push_image("v2", b"layer");
    let by_digest = format!("/v2/web/manifests/{digest}");
    for path in ["/v2/web/manifests/v1", by_digest.as_str()] {
        let found = desk.ann(Method::Get, path);
        assert_eq!(found.status, 200, "{path}");
        assert_eq!(found.header("content-type"), Some(MANIFEST));
        assert_eq!(
            found.header("docker-content-digest"),
            Some(digest.to_string().as_str())
        );
        assert_eq!(found.text(), image(b"layer", ""));
    }
    assert_eq!(desk.ann(Method::Delete, "/v2/web/manifests/v1").status, 202);
    assert_eq!(desk.ann(Method::Get, "/v2/web/manifests/v1").status, 404);
    assert_eq!(desk.ann(Method::Get, &by_digest).status, 200);
    assert_eq!(desk.ann(Method::Delete, &by_digest).status, 202);
    for path in ["/v2/web/manifests/v2", by_digest.as_str()] {
        let gone = desk.ann(Method::Get, path);
        assert_eq!(gone.json()["errors"][0]["code"], "MANIFEST_UNKNOWN");
    }
}

#[test]
fn a_manifest_must_be_whole_and_what_it_says_it_is() {
    let desk = Desk::open();
    desk.push_blob("ann", "web", b"{}");
    let incomplete = desk.push_manifest("web", "v1", &image(b"layer", ""));
    assert_eq!(incomplete.status, 400);
    assert_eq!(
        incomplete.json()["errors"][0]["code"],
        "MANIFEST_BLOB_UNKNOWN"
    );
    for text in ["", "{}", "[1]", r#"{"schemaVersion":1}"#] {
        let refused = desk.push_manifest("web", "v1", text);
        assert_eq!(
            refused.json()["errors"][0]["code"],
            "MANIFEST_INVALID",
            "{text}"
        );
    }
    let long = " ".repeat((4 << 20) + 1);
    assert_eq!(desk.push_manifest("web", "v1", &long).status, 413);
}

#[test]
fn tags_are_listed_in_pages() {
    let desk = Desk::open();
    assert_eq!(desk.ann(Method::Get, "/v2/web/tags/list").status, 404);
    for tag in ["c", "a", "b"] {
        desk.push_image(tag, b"layer");
    }
    let all = desk.ann(Method::Get, "/v2/web/tags/list");
    assert_eq!(all.json(), json!({"name": "web", "tags": ["a", "b", "c"]}));
    assert_eq!(all.header("link"), None);
    let first = desk.ann(Method::Get, "/v2/web/tags/list?n=2");
    assert_eq!(first.json()["tags"], json!(["a", "b"]));
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    let second = desk.ann(Method::Get, next);
    assert_eq!(second.json()["tags"], json!(["c"]));
    assert_eq!(second.header("link"), None);
}

#[test]
fn what_speaks_about_an_image_is_listed_by_kind() {
    let desk = Desk::open();
    let digest = desk.push_image("v1", b"layer");
    let about = |kind: &str| {
        let more = format!(
            r#","artifactType":"{kind}","annotations":{{"by":"test"}}{}"#,
            subject(digest)
        );
        let answer = desk.push_manifest(
            "web",
            kind.split('/').next_back().unwrap(),
            &image(b"layer", &more),
        );
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(
            answer.header("oci-subject"),
            Some(digest.to_string().as_str())
        );
    };
    about("test/signature");
    about("test/sbom");
    let path = format!("/v2/web/referrers/{digest}");
    let all = desk.ann(Method::Get, &path);
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    let some = desk.ann(Method::Get, &format!("{path}?artifactType=test/sbom"));
    assert_eq!(some.header("oci-filters-applied"), Some("artifactType"));
    let found = some.json();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["manifests"][0]["annotations"], json!({"by": "test"}));
}
