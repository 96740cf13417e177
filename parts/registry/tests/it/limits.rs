use mayfly_registry::{RegistryLimits, RegistrySettings};
use mayfly_testing::{Answer, Method};

use crate::desk::{Desk, digest};

fn open(limits: RegistryLimits) -> Desk {
    Desk::open_with(RegistrySettings {
        limits,
        bucket: None,
    })
}

fn push(desk: &Desk, bytes: &[u8]) -> Answer {
    let path = format!("/v2/web/blobs/uploads/?digest={}", digest(bytes));
    desk.ask("ann", Method::Post, &path, &[], bytes)
}

fn code(answer: &Answer) -> String {
    let code = &answer.json()["errors"][0]["code"];
    code.as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_app_has_as_many_bytes_as_it_may() {
    let desk = open(RegistryLimits {
        app_bytes_max: Some(100),
        ..RegistryLimits::default()
    });
    assert_eq!(push(&desk, &[1; 60]).status, 201);
    // Once more is no more.
    assert_eq!(push(&desk, &[1; 60]).status, 201);
    let refused = push(&desk, &[2; 60]);
    assert_eq!((refused.status, code(&refused).as_str()), (403, "DENIED"));
    assert!(refused.text().contains("60 bytes"), "{}", refused.text());
    assert_eq!(push(&desk, &[3; 40]).status, 201);
    // Others have a limit of their own.
    desk.push_blob("bob", "shop", &[4; 100]);
    let left = std::fs::read_dir(desk.directory().join("uploads")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_blob_may_be_too_large_and_a_disk_too_full() {
    let desk = open(RegistryLimits {
        blob_bytes_max: 50,
        ..RegistryLimits::default()
    });
    assert_eq!(push(&desk, &[1; 50]).status, 201);
    let refused = push(&desk, &[1; 51]);
    assert_eq!(
        (refused.status, code(&refused).as_str()),
        (413, "SIZE_INVALID")
    );

    let desk = open(RegistryLimits {
        free_bytes_min: u64::MAX,
        ..RegistryLimits::default()
    });
    let refused = push(&desk, b"one byte too many");
    assert_eq!(refused.status, 507, "{}", refused.text());
    let left = std::fs::read_dir(desk.directory().join("blobs")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn who_only_reads_does_not_write() {
    let desk = Desk::open();
    let blob = desk.push_blob("ann", "web", b"layer");
    let here = format!("/v2/web/blobs/{blob}");
    let ask = |method, path: &str| desk.ask("rob", method, path, &[], b"");
    assert_eq!(ask(Method::Get, &here).status, 200);
    for (method, path) in [
        (Method::Delete, here.as_str()),
        (Method::Post, "/v2/web/blobs/uploads/"),
        (Method::Put, "/v2/web/manifests/v1"),
    ] {
        let refused = ask(method, path);
        assert_eq!(
            (refused.status, code(&refused).as_str()),
            (403, "DENIED"),
            "{path}"
        );
    }
}
