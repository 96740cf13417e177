use std::fs;

use mayfly_testing::Method;

use crate::desk::{Desk, image, subject};

fn blobs(desk: &Desk) -> usize {
    fs::read_dir(desk.directory().join("blobs"))
        .unwrap()
        .count()
}

#[test]
fn what_no_manifest_needs_goes_and_the_rest_stays() {
    let desk = Desk::open();
    let old = desk.push_image("latest", b"old layer");
    let signature = image(b"old layer", &subject(old));
    assert_eq!(
        desk.push_manifest("web", "signature", &signature).status,
        201
    );
    desk.ann(Method::Delete, "/v2/web/manifests/signature");
    desk.push_image("latest", b"new layer");
    desk.push_blob("bob", "shop", b"for nothing");
    desk.ann(Method::Post, "/v2/web/blobs/uploads/");
    // Two layers, one configuration, three manifests, one stray.
    assert_eq!(blobs(&desk), 7);

    desk.need([old]);
    let first = desk.collect();
    assert_eq!((first.manifests, first.blobs, first.uploads), (0, 1, 1));
    let by_digest = format!("/v2/web/manifests/{old}");
    let refused = desk.ann(Method::Delete, &by_digest);
    assert_eq!(
        (refused.status, refused.json()["errors"][0]["code"].as_str()),
        (409, Some("DENIED"))
    );

    desk.need([]);
    let second = desk.collect();
    assert_eq!((second.manifests, second.blobs), (2, 3));
    assert_eq!(desk.ann(Method::Get, &by_digest).status, 404);
    assert_eq!(
        desk.ann(Method::Get, "/v2/web/manifests/latest").status,
        200
    );
    assert_eq!(blobs(&desk), 3);
    assert_eq!(desk.collect(), mayfly_registry::Collected::default());
}
