//! The process is killed at any moment of a pull; the next one finds whole layers or none.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mayfly_image::{ImageStore, StoreConfig};
use mayfly_testing::TestImage;

use crate::scripted::{Reply, Scripted};
use crate::store::{TestStore, image};

const DIRECTORY: &str = "MAYFLY_TEST_STORE";
const IMAGE: &str = "MAYFLY_TEST_IMAGE";

/// Not a test: what the test below starts and kills.
#[tokio::test]
#[ignore = "started and killed by killed_at_any_moment"]
async fn pull_until_killed() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let store = ImageStore::open(Path::new(&directory), StoreConfig::default())
        .await
        .unwrap();
    let name = image(&std::env::var(IMAGE).unwrap());
    store.ensure(&name, None).await.unwrap();
    store
        .import(&Path::new(&directory).join("../layout"), None)
        .await
        .unwrap();
}

/// Names of all files below, so that a half-unpacked layer shows.
fn tree(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn killed_at_any_moment() {
    let test = TestStore::open().await;
    let layout = test.beside("layout");
    let mut source = TestImage::busybox();
    for layer in 0..4 {
        source = source.layer();
        for file in 0..150 {
            let path = format!("/data/{layer}/{file}");
            source = source.file(&path, 0o644, format!("{layer} {file}").repeat(500));
        }
    }
    let digest = source.write_oci_layout(&layout, "app:v1").unwrap();
    // What whole layers look like.
    let whole = TestStore::open().await;
    whole.store.import(&layout, None).await.unwrap();
    let trees = |store: &TestStore| {
        let layers = store.files("layers");
        layers
            .into_iter()
            .map(|layer| (layer.clone(), tree(&store.path("layers").join(layer))))
            .collect::<Vec<_>>()
    };
    let expected = trees(&whole);
    let registry = Scripted::start(&layout, {
        let layout = layout.clone();
        move |asked| {
            let hex = asked.path.rsplit_once("/blobs/sha256:")?.1;
            let bytes = std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
            Some(Reply {
                slow: Some(Duration::from_millis(2)),
                ..Reply::ranged(asked, &bytes)
            })
        }
    });
    let name = registry.image("app:v1");
    let program = std::env::current_exe().unwrap();
    let mut unfinished = 0;
    for round in 0..25u64 {
        let mut child = Command::new(&program)
            .args(["--exact", "crash::pull_until_killed", "--ignored"])
            .env(DIRECTORY, test.path(""))
            .env(IMAGE, name.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A spread of moments, from the start of the process to after the end of the pull.
        tokio::time::sleep(Duration::from_millis(3 + round * 11)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let store = test.reopened().await;
        let partials = test.files("staging");
        assert!(
            partials.iter().all(|name| name.ends_with(".part")),
            "round {round}: {partials:?}"
        );
        for layer in trees(&test) {
            assert!(
                expected.contains(&layer),
                "round {round}: layer {} is not whole",
                layer.0
            );
        }
        let ready = store.list().first().is_some_and(|info| info.ready);
        if ready {
            assert_eq!(store.layers(digest).unwrap().len(), 5);
            // Once more from nothing.
            store
                .begin_prune()
                .await
                .remove_except(&Default::default(), &[])
                .await
                .unwrap();
        } else {
            unfinished += 1;
        }
    }
    assert!(
        unfinished > 3,
        "most kills came before the end: {unfinished}"
    );
    let store = test.reopened().await;
    assert!(store.ensure(&name, None).await.unwrap().ready);
    assert_eq!(trees(&test), expected);
}
