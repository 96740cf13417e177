use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mayfly_host_api::RegistryLogin;
use mayfly_image::{ImageError, RegistryConfig, StoreConfig};
use mayfly_testing::TestImage;
use mayfly_types::{Digest, ErrorKind, Secret};
use serde_json::{Value, json};

use crate::scripted::{Asked, Reply, Scripted};
use crate::store::{TestStore, chain, image, wait_until};

/// A layout with one image of two layers, the second large and incompressible.
struct Layout {
    path: PathBuf,
    image: Digest,
    large: Digest,
    large_bytes: Vec<u8>,
}

fn layout(test: &TestStore) -> Layout {
    let path = test.beside("layout");
    let mut noise = vec![0u8; 2 << 20];
    let mut word = 1u64;
    for byte in &mut noise {
        word = word.wrapping_mul(6364136223846793005).wrapping_add(99);
        *byte = (word >> 33) as u8;
    }
    let image = TestImage::empty()
        .file("/small", 0o644, "small")
        .layer()
        .file("/large", 0o644, &noise)
        .write_oci_layout(&path, "app:v1")
        .unwrap();
    let manifest = read_json(&path, image);
    let large: Digest = manifest["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let large_bytes = std::fs::read(path.join("blobs/sha256").join(large.hex())).unwrap();
    Layout {
        path,
        image,
        large,
        large_bytes,
    }
}

fn read_json(layout: &std::path::Path, digest: Digest) -> Value {
    let bytes = std::fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn is_for(asked: &Asked, digest: Digest) -> bool {
    asked.path.ends_with(&format!("blobs/{digest}"))
}

#[tokio::test]
async fn broken_transfers_are_continued_where_they_broke() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let registry = Scripted::start(&layout.path, move |asked| {
        is_for(asked, large).then(|| Reply::ranged(asked, &bytes).cut(300_000))
    });
    // Seven tries, more than the five allowed without progress.
    let pinned = test
        .store
        .ensure(&registry.image("app:v1"), None)
        .await
        .unwrap();
    assert!(pinned.ready);
    let asked = registry.asked_for(large);
    assert!(asked.len() >= 7, "{}", asked.len());
    let starts: Vec<usize> = asked.iter().map(Asked::from).collect();
    assert!(
        starts.windows(2).all(|pair| pair[0] < pair[1]),
        "{starts:?}"
    );
    assert_eq!(test.files("staging"), [""; 0]);
}

#[tokio::test]
async fn registries_without_ranges_and_with_wrong_ones_work_too() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    for kind in 0..3 {
        let store = TestStore::open().await;
        let (large, bytes) = (layout.large, layout.large_bytes.clone());
        let tries = AtomicUsize::new(0);
        let registry = Scripted::start(&layout.path, move |asked| {
            if !is_for(asked, large) {
                return None;
            }
            let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            Some(match (first, kind) {
                (true, _) => Reply::ok(bytes.clone()).cut(500_000),
                (false, 0) => Reply::ok(bytes.clone()),
                (false, 1) if asked.from() > 0 => Reply::status(416),
                (false, 2) if asked.from() > 0 => Reply {
                    status: 206,
                    ..Reply::ok(&bytes[7..])
                }
                .with("content-range", "bytes 7-99/100"),
                _ => Reply::ok(bytes.clone()),
            })
        });
        let pinned = store.store.ensure(&registry.image("app:v1"), None).await;
        let pinned = pinned.unwrap_or_else(|error| panic!("{kind}: {}", chain(&error)));
        assert!(pinned.ready);
    }
}

#[tokio::test]
async fn a_restarted_host_continues_a_download() {
    let test = TestStore::with(StoreConfig {
        attempts_max: 1,
        ..StoreConfig::default()
    })
    .await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let whole = Arc::new(AtomicBool::new(false));
    let healed = whole.clone();
    let registry = Scripted::start(&layout.path, move |asked| {
        let broken = is_for(asked, large) && !whole.load(Ordering::SeqCst);
        broken.then(|| Reply::ok(bytes.clone()).cut(1_000_000))
    });
    let name = registry.image("app:v1");
    let error = test.store.ensure(&name, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
    healed.store(true, Ordering::SeqCst);
    test.store.shut_down().await;
    let again = test.reopened().await;
    let staged = test.files("staging");
    assert!(
        staged.contains(&format!("{}.part", large.hex())),
        "{staged:?}"
    );
    assert!(again.ensure(&name, None).await.unwrap().ready);
    let starts: Vec<usize> = registry.asked_for(large).iter().map(Asked::from).collect();
    assert!(starts[1] > 500_000, "{starts:?}");
    // A partial file of something else is found out by its digest and fetched anew.
    let other = TestStore::open().await;
    std::fs::write(
        other.path("staging").join(format!("{}.part", large.hex())),
        "garbage",
    )
    .unwrap();
    let error = other.store.ensure(&name, None).await.unwrap_err();
    assert!(chain(&error).contains("digest"), "{}", chain(&error));
    assert!(other.store.ensure(&name, None).await.unwrap().ready);
}

#[tokio::test]
async fn wrong_content_is_never_used() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let mut flipped = bytes.clone();
    flipped[1000] ^= 1;
    let longer = [bytes.as_slice(), b"x"].concat();
    let shorter = bytes[..bytes.len() - 1].to_vec();
    for (body, wanted, kind) in [
        (flipped, "with digest", ErrorKind::Invalid),
        (longer, "bytes of layer", ErrorKind::Invalid),
        (shorter, "bytes of layer", ErrorKind::Unavailable),
    ] {
        let store = TestStore::open().await;
        let registry = Scripted::start(&layout.path, move |asked| {
            is_for(asked, large).then(|| match asked.from() {
                0 => Reply::ok(body.clone()),
                // Nothing more to come.
                from if from >= body.len() => Reply::status(416),
                _ => Reply::ranged(asked, &body),
            })
        });
        let name = registry.image("app:v1");
        let error = store.store.ensure(&name, None).await.unwrap_err();
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
        assert_eq!(error.kind(), kind, "{}", chain(&error));
        assert!(
            chain(&error).contains(&large.to_string()),
            "{}",
            chain(&error)
        );
        let failed = store.store.pulls();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].error.as_ref().unwrap().contains(wanted));
        assert!(!store.store.info(layout.image).unwrap().ready);
    }
    // A manifest by digest that is another one.
    let registry = Scripted::start(&layout.path, |asked| {
        asked.path.contains("/manifests/").then(|| Reply::ok("{}"))
    });
    let by_digest = registry.image(&format!("app@{}", layout.image));
    let error = test.store.ensure(&by_digest, None).await.unwrap_err();
    assert!(chain(&error).contains("with digest"), "{}", chain(&error));
    let error = test
        .store
        .ensure(&registry.image("app:v1"), None)
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("neither an image manifest"),
        "{}",
        chain(&error)
    );
    test.assert_empty();
}

#[tokio::test]
async fn passing_refusals_are_waited_out_and_lasting_ones_reported() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let tries = AtomicUsize::new(0);
    let registry = Scripted::start(&layout.path, move |_| {
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Some(Reply::status(503)),
            1 => Some(Reply::status(429).with("retry-after", "0")),
            2 => Some(Reply::status(500).cut(0)),
            _ => None,
        }
    });
    assert!(
        test.store
            .ensure(&registry.image("app:v1"), None)
            .await
            .unwrap()
            .ready
    );

    for (status, kind) in [
        (500, ErrorKind::Unavailable),
        (429, ErrorKind::Unavailable),
        (418, ErrorKind::Invalid),
        (403, ErrorKind::Denied),
        (404, ErrorKind::NotFound),
    ] {
        let registry = Scripted::start(&layout.path, move |_| {
            let words = r#"{"errors":[{"code":"X","message":"because\u0007 we say so"}]}"#;
            Some(Reply {
                body: words.into(),
                ..Reply::status(status)
            })
        });
        let error = test
            .store
            .ensure(&registry.image("app:v1"), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{}", chain(&error));
        assert!(
            chain(&error).contains("because we say so"),
            "{}",
            chain(&error)
        );
        let tries = registry.asked().len();
        assert_eq!(tries, if kind == ErrorKind::Unavailable { 5 } else { 1 });
    }
}

#[tokio::test]
async fn silence_ends_and_what_came_before_counts() {
    let test = TestStore::with(StoreConfig {
        silence_max: Duration::from_millis(200),
        ..StoreConfig::default()
    })
    .await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let tries = AtomicUsize::new(0);
    let registry = Scripted::start(&layout.path, move |asked| {
        if !is_for(asked, large) {
            return None;
        }
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reply {
            stall: Some(700_000),
            ..Reply::ok(bytes.clone())
        })
    });
    assert!(
        test.store
            .ensure(&registry.image("app:v1"), None)
            .await
            .unwrap()
            .ready
    );
    let starts: Vec<usize> = registry.asked_for(large).iter().map(Asked::from).collect();
    assert!(starts.len() == 2 && starts[1] > 500_000, "{starts:?}");
}

#[tokio::test]
async fn many_who_want_one_image_share_one_pull_and_see_it_go_on() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let registry = Scripted::start(&layout.path, move |asked| {
        is_for(asked, large).then(|| Reply {
            slow: Some(Duration::from_millis(10)),
            ..Reply::ok(bytes.clone())
        })
    });
    let name = registry.image("app:v1");
    let waits = (0..10).map(|_| test.store.ensure(&name, None));
    let watch = wait_until("the pull shows its progress", || {
        let pulls = test.store.pulls();
        pulls.len() == 1 && pulls[0].bytes_done > 100_000 && pulls[0].bytes_done < pulls[0].bytes
    });
    let (pinned, ()) = tokio::join!(futures_util::future::join_all(waits), watch);
    assert!(pinned.iter().all(|pinned| pinned.as_ref().unwrap().ready));
    assert_eq!(registry.asked_for(large).len(), 1);
    assert_eq!(test.store.pulls(), []);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_pull() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let registry = Scripted::start(&layout.path, move |asked| {
        is_for(asked, large).then(|| Reply {
            slow: Some(Duration::from_millis(5)),
            ..Reply::ok(bytes.clone())
        })
    });
    let name = registry.image("app:v1");
    tokio::select! {
        _ = test.store.ensure(&name, None) => panic!("the caller leaves before the end"),
        () = wait_until("the pull goes on", || !test.store.pulls().is_empty()) => {}
    }
    wait_until("the image is ready", || {
        test.store.list().iter().any(|info| info.ready)
    })
    .await;
    assert_eq!(registry.asked_for(large).len(), 1);
}

#[tokio::test]
async fn stopping_ends_pulls_and_keeps_what_came() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let (large, bytes) = (layout.large, layout.large_bytes.clone());
    let registry = Scripted::start(&layout.path, move |asked| {
        is_for(asked, large).then(|| Reply {
            stall: Some(800_000),
            ..Reply::ok(bytes.clone())
        })
    });
    let name = registry.image("app:v1");
    let stop = async {
        wait_until("some bytes came", || {
            test.store
                .pulls()
                .iter()
                .any(|pull| pull.bytes_done > 500_000)
        })
        .await;
        test.store.shut_down().await;
    };
    let (ended, ()) = tokio::join!(test.store.ensure(&name, None), stop);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    let staged = test.files("staging");
    assert!(
        staged.contains(&format!("{}.part", large.hex())),
        "{staged:?}"
    );
    let unfinished: Vec<_> = staged
        .iter()
        .filter(|name| !name.ends_with(".part"))
        .collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

#[tokio::test]
async fn tokens_are_fetched_and_passwords_stay_where_they_belong() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let storage = Scripted::start(&layout.path, |_| None);
    let (elsewhere, large) = (storage.address, layout.large);
    let authority = Scripted::start(&layout.path, |asked| {
        let token = match asked.header("authorization") {
            Some("Basic dXNlcjpzM2NyZXQ=") => "full",
            Some(_) => return Some(Reply::status(401)),
            None => "guest",
        };
        Some(Reply::ok(
            json!({"token": token, "expires_in": 60}).to_string(),
        ))
    });
    let realm = format!("http://{}/token?account=x", authority.address);
    let registry = Scripted::start(&layout.path, move |asked| {
        let wanted = if asked.path.contains("/secret/") {
            "Bearer full"
        } else {
            "Bearer guest"
        };
        if asked.header("authorization") != Some(wanted) {
            let challenge = format!(
                r#"Bearer realm="{realm}",service="the registry",scope="repository:app:pull""#
            );
            return Some(Reply::status(401).with("www-authenticate", &challenge));
        }
        let away = format!("http://{elsewhere}{}", asked.path);
        is_for(asked, large).then(|| Reply::status(307).with("location", &away))
    });
    assert!(
        test.store
            .ensure(&registry.image("open/app:v1"), None)
            .await
            .unwrap()
            .ready
    );
    let asked = &authority.asked()[0];
    assert_eq!(
        asked.path,
        "/token?account=x&scope=repository:app:pull&service=the%20registry"
    );
    let moved = storage.asked();
    assert_eq!(moved.len(), 1);
    assert_eq!(
        moved[0].header("authorization"),
        None,
        "the token stays with the registry"
    );

    let secret = registry.image("secret/app:v1");
    let login = |password: &str| RegistryLogin {
        username: "user".to_owned(),
        password: Secret::new(password),
    };
    for refused in [None, Some(login("wrong"))] {
        let error = test
            .store
            .ensure(&secret, refused.as_ref())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));
    }
    test.store
        .ensure(&secret, Some(&login("s3cret")))
        .await
        .unwrap();
    let odd = Scripted::start(&layout.path, |_| {
        Some(Reply::status(401).with("www-authenticate", "Negotiate"))
    });
    let error = test
        .store
        .ensure(&odd.image("a:b"), None)
        .await
        .unwrap_err();
    assert!(chain(&error).contains("not supported"), "{}", chain(&error));
}

#[tokio::test]
async fn an_index_leads_to_our_platform_and_configured_registries_to_their_place() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let size = std::fs::metadata(layout.path.join("blobs/sha256").join(layout.image.hex()))
        .unwrap()
        .len();
    let entry = |architecture: &str, digest: Digest| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let wrong: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [entry("s390x", wrong), entry("amd64", layout.image), entry("arm64", layout.image)]});
    let index = index.to_string();
    let registry = Scripted::start(&layout.path, move |asked| {
        asked.path.ends_with("/manifests/v1").then(|| {
            Reply::ok(index.clone()).with(
                "content-type",
                "application/vnd.docker.distribution.manifest.list.v2+json",
            )
        })
    });
    let mirrored = TestStore::with(StoreConfig {
        registries: [(
            "registry.fly.io".to_owned(),
            RegistryConfig {
                base_url: format!("http://{}", registry.address),
            },
        )]
        .into(),
        ..StoreConfig::default()
    })
    .await;
    let name = image("registry.fly.io/app:v1");
    let pinned = mirrored.store.ensure(&name, None).await.unwrap();
    assert_eq!(pinned.digest, layout.image);
    assert_eq!(pinned.image, name.pinned(layout.image));
    assert!(registry.asked()[0].path.starts_with("/v2/app/manifests/v1"));
}

#[tokio::test]
async fn a_layer_that_is_not_what_its_image_says_is_refused() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    // The manifest gives the small layer where the configuration means the large one.
    let mut manifest = read_json(&layout.path, layout.image);
    manifest["layers"][1] = manifest["layers"][0].clone();
    let manifest = manifest.to_string();
    let registry = Scripted::start(&layout.path, move |asked| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Reply::ok(manifest.clone()))
    });
    let error = test
        .store
        .ensure(&registry.image("app:v1"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Pull { .. }));
    assert!(
        chain(&error).contains("its image says"),
        "{}",
        chain(&error)
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(test.files("staging").is_empty());
}

#[tokio::test]
async fn who_starts_a_machine_need_not_know_the_login() {
    let test = TestStore::open().await;
    let layout = layout(&test);
    let registry = Scripted::start(&layout.path, |asked| {
        let known = asked.header("authorization") == Some("Basic dXNlcjpzM2NyZXQ=");
        (!known).then(|| Reply::status(401).with("www-authenticate", "Basic realm=x"))
    });
    let name = registry.image("app:v1");
    let login = RegistryLogin {
        username: "user".to_owned(),
        password: Secret::new("s3cret"),
    };
    let resolved = test.store.resolve(&name, Some(&login)).await.unwrap();
    assert!(!resolved.ready);
    let pinned = name.pinned(resolved.digest);
    assert!(test.store.ensure(&pinned, None).await.unwrap().ready);
    // What was not resolved with it stays closed.
    let error = test.store.ensure(&registry.image("app:v2"), None).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Denied);
}
