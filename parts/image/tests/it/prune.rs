use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mayfly_image::{ImageStore, Pinned};
use mayfly_runtime::{Clock, SystemClock};
use mayfly_testing::TestImage;
use mayfly_types::{Digest, Timestamp};

use crate::scripted::Scripted;
use crate::store::{TestStore, image};

/// An image on a common lower layer, named after its own file.
async fn import(store: &ImageStore, beside: &Path, name: &str) -> Pinned {
    TestImage::empty()
        .file("/common", 0o644, "common")
        .layer()
        .file(&format!("/{name}"), 0o644, name)
        .write_oci_layout(beside, &format!("{name}:1"))
        .unwrap();
    let imported = store.import(beside, None).await.unwrap();
    std::fs::remove_dir_all(beside).unwrap();
    imported.into_iter().next().unwrap()
}

async fn prune(store: &ImageStore, in_use: &[Digest], keep: &[&str]) -> Vec<String> {
    let keep: Vec<_> = keep.iter().map(|name| image(name)).collect();
    let in_use: HashSet<Digest> = in_use.iter().copied().collect();
    let pruned = store
        .begin_prune()
        .await
        .remove_except(&in_use, &keep)
        .await
        .unwrap();
    let mut names: Vec<String> = pruned
        .images
        .iter()
        .map(|image| image.repository().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn only_what_nobody_needs_goes() {
    let test = TestStore::open().await;
    let source = test.beside("layout");
    let [a, b, c, d] = [
        import(&test.store, &source, "a").await,
        import(&test.store, &source, "b").await,
        import(&test.store, &source, "c").await,
        import(&test.store, &source, "d").await,
    ];
    assert_eq!(test.files("layers").len(), 5);
    let (b_digest, d_digest) = (b.digest, d.digest);
    drop((b, c, d));
    // a is pinned, b in use, c kept by name.
    let removed = prune(&test.store, &[b_digest], &["c:1"]).await;
    assert_eq!(removed, ["library/d"]);
    assert_eq!(test.files("layers").len(), 4);
    assert!(test.store.layers(d_digest).is_err());
    assert!(test.store.layers(b_digest).is_ok());
    let reopened = test.reopened().await;
    assert_eq!(reopened.list(), test.store.list());
    assert!(reopened.resolve(&image("c:1"), None).await.is_ok());
    drop(a);
    let removed = prune(&test.store, &[], &[]).await;
    assert_eq!(removed, ["library/a", "library/b", "library/c"]);
    test.assert_empty();
}

#[tokio::test]
async fn a_pin_taken_during_a_prune_counts_even_if_it_is_gone_at_the_end() {
    let test = TestStore::open().await;
    let source = test.beside("layout");
    let a = import(&test.store, &source, "a").await.digest;
    let b = import(&test.store, &source, "b").await.digest;
    let pruning = test.store.begin_prune().await;
    // A machine is made now: pinned, put on record, let go. The list of machines was read before.
    drop(test.store.pin(a).unwrap());
    let pruned = pruning.remove_except(&HashSet::new(), &[]).await.unwrap();
    assert_eq!(pruned.images.len(), 1);
    assert!(pruned.freed_bytes > 0);
    assert!(test.store.layers(a).is_ok());
    assert!(test.store.layers(b).is_err());
    // A prune that is given up changes nothing.
    drop(test.store.begin_prune().await);
    assert!(test.store.layers(a).is_ok());
}

#[tokio::test]
async fn imports_during_prunes_end_whole() {
    let test = TestStore::open().await;
    let prunes = async {
        for _ in 0..20 {
            prune(&test.store, &[], &[]).await;
        }
    };
    let imports = async {
        for round in 0..20 {
            let source = test.beside("layout");
            let pinned = import(&test.store, &source, &format!("r{round}")).await;
            for layer in test.store.layers(pinned.digest).unwrap() {
                assert!(layer.is_dir(), "a pinned image has its layers");
            }
        }
    };
    tokio::join!(prunes, imports);
    prune(&test.store, &[], &[]).await;
    test.assert_empty();
}

#[tokio::test]
async fn pulls_during_prunes_end_whole() {
    let test = TestStore::open().await;
    let layout = test.beside("layout");
    let digest = TestImage::empty()
        .file("/a", 0o644, "a")
        .layer()
        .file("/b", 0o644, "b".repeat(100_000))
        .write_oci_layout(&layout, "app:v1")
        .unwrap();
    let registry = Scripted::start(&layout, |_| None);
    let name = registry.image("app:v1");
    let ended = AtomicBool::new(false);
    let prunes = async {
        while !ended.load(Ordering::SeqCst) {
            prune(&test.store, &[], &[]).await;
        }
    };
    let pulls = async {
        for _ in 0..15 {
            let pinned = test.store.ensure(&name, None).await.unwrap();
            assert_eq!(test.store.layers(digest).unwrap().len(), 2);
            drop(pinned);
        }
        ended.store(true, Ordering::SeqCst);
    };
    tokio::join!(prunes, pulls);
    prune(&test.store, &[], &[]).await;
    test.assert_empty();
}

#[tokio::test]
async fn age_takes_what_a_registry_has_and_nobody_used() {
    const KEPT: Duration = Duration::from_secs(3600);
    let test = TestStore::open().await;
    let source = test.beside("layout");
    drop(import(&test.store, &source, "imported").await);
    let layout = test.beside("registry");
    let digest = TestImage::empty()
        .file("/a", 0o644, "a")
        .write_oci_layout(&layout, "app:v1")
        .unwrap();
    let registry = Scripted::start(&layout, |_| None);
    drop(test.store.ensure(&registry.image("app:v1"), None).await);
    let pulled = SystemClock.now();

    let collect = async |in_use: &[Digest], at: Timestamp| {
        let pruning = test.store.begin_prune().await;
        let mut needed: HashSet<Digest> = in_use.iter().copied().collect();
        let spared = pruning.spared(&needed, at, KEPT).await;
        needed.extend(spared);
        let pruned = pruning.remove_except(&needed, &[]).await.unwrap();
        pruned.images.len()
    };
    assert_eq!(collect(&[], pulled + KEPT / 2).await, 0, "not old enough");
    // Its use is noted: age counts from there.
    assert_eq!(collect(&[digest], pulled + KEPT * 3).await, 0);
    assert_eq!(collect(&[], pulled + KEPT * 3 + KEPT / 2).await, 0);
    assert_eq!(collect(&[], pulled + KEPT * 5).await, 1);
    assert!(test.store.layers(digest).is_err());
    assert_eq!(test.store.list().len(), 1, "what was imported stays");
}
