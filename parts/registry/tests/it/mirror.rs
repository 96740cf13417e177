use std::time::Duration;

use mayfly_registry::{RegistryLimits, RegistrySettings};
use mayfly_testing::Method;

use crate::desk::{Desk, digest, image};

/// A registry whose mirror asks its origins about a tag every time.
fn eager() -> Desk {
    Desk::open_with(RegistrySettings {
        limits: RegistryLimits {
            mirror_fresh: Duration::ZERO,
            ..RegistryLimits::default()
        },
        bucket: None,
    })
}

const TAG: &str = "/v2/mirror/hub.test/tools/make/manifests/1";

fn blob(bytes: &[u8]) -> String {
    format!("/v2/mirror/hub.test/tools/make/blobs/{}", digest(bytes))
}

#[test]
fn an_image_of_elsewhere_is_brought_once_and_stays_while_its_registry_is_away() {
    let desk = eager();
    let first = desk.elsewhere.put("hub.test/tools/make:1", b"one");
    assert_eq!(desk.ann(Method::Get, TAG).text(), image(b"one", ""));
    for _ in 0..2 {
        assert_eq!(desk.ann(Method::Get, &blob(b"one")).text(), "one");
    }
    let asked = desk.elsewhere.asked();
    assert_eq!(
        asked,
        [
            "hub.test/tools/make:1".to_owned(),
            digest(b"one").to_string()
        ]
    );

    // A tag is asked for anew, a digest is not.
    desk.elsewhere.put("hub.test/tools/make:1", b"two");
    assert_eq!(desk.ann(Method::Get, TAG).text(), image(b"two", ""));
    desk.elsewhere.set_away(true);
    let away = desk.ann(Method::Get, TAG);
    assert_eq!((away.status, away.text()), (200, image(b"two", "")));
    let by_digest = format!("/v2/mirror/hub.test/tools/make/manifests/{first}");
    assert_eq!(desk.ann(Method::Head, &by_digest).status, 200);
    assert_eq!(desk.ann(Method::Get, &blob(b"one")).status, 200);
    let unknown = desk.ann(Method::Get, "/v2/mirror/hub.test/tools/cc/manifests/1");
    assert_eq!(unknown.status, 502);
    assert!(
        unknown.text().contains("nobody answers"),
        "{}",
        unknown.text()
    );
    // A blob that no manifest named is not looked for.
    assert_eq!(desk.ann(Method::Get, &blob(b"other")).status, 404);

    let desk = desk.restart();
    assert_eq!(desk.ann(Method::Get, TAG).text(), image(b"two", ""));
    // Nobody needs it, so it goes in the end.
    assert_eq!(desk.collect().manifests, 2);
    assert_eq!(desk.ann(Method::Get, TAG).status, 502);
}

#[test]
fn what_was_imported_wins_over_every_registry() {
    let desk = eager();
    desk.elsewhere.put("docker.io/library/node:20", b"theirs");
    desk.elsewhere.import("docker.io/library/node:20", b"ours");
    for path in [
        "/v2/mirror/docker.io/library/node/manifests/20",
        "/v2/library/node/manifests/20",
        "/v2/library/node/manifests/20?ns=docker.io",
    ] {
        assert_eq!(
            desk.ann(Method::Get, path).text(),
            image(b"ours", ""),
            "{path}"
        );
    }
    assert!(desk.elsewhere.asked().is_empty());
    let named = "/v2/tools/make/manifests/1?ns=hub.test";
    desk.elsewhere.put("hub.test/tools/make:1", b"one");
    assert_eq!(desk.ann(Method::Get, named).text(), image(b"one", ""));
    // A registry that is not mirrored is nobody's business, whatever it is called.
    let own = "/v2/web/manifests/1?ns=bucket.test";
    assert_eq!(desk.ann(Method::Get, own).status, 404);
    assert_eq!(
        desk.ann(Method::Get, "/v2/mirror/bucket.test/a/manifests/1")
            .status,
        404
    );
    assert_eq!(desk.elsewhere.asked().len(), 1);
}

#[test]
fn the_mirror_is_read_only_and_for_holders_of_tokens() {
    let desk = eager();
    desk.elsewhere.put("hub.test/tools/make:1", b"one");
    assert_eq!(desk.ask("eve", Method::Get, TAG, &[], b"").status, 401);
    for (method, path) in [
        (Method::Put, TAG),
        (Method::Delete, TAG),
        (
            Method::Post,
            "/v2/mirror/hub.test/tools/make/blobs/uploads/",
        ),
    ] {
        let refused = desk.ann(method, path);
        assert_eq!(refused.status, 405, "{path}");
        assert!(
            refused.text().contains("mayfly image import"),
            "{}",
            refused.text()
        );
    }
}

#[test]
fn naming_a_digest_elsewhere_does_not_open_another_apps_layer() {
    let desk = eager();
    let secret = desk.push_blob("bob", "shop", b"bob's layer");
    // The origin names the layer in a manifest, and does not have it.
    desk.elsewhere.put("hub.test/tools/make:1", b"one");
    let stolen = image(b"bob's layer", "");
    desk.elsewhere
        .put_manifest("hub.test/tools/make:1", &stolen);
    assert_eq!(desk.ann(Method::Get, TAG).text(), stolen);
    let path = format!("/v2/mirror/hub.test/tools/make/blobs/{secret}");
    assert_eq!(desk.ann(Method::Get, &path).status, 404);
}
