//! What the tests here share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mayfly_image::{ImageError, ImageStore, StoreConfig};
use mayfly_runtime::{Backoff, report};
use mayfly_types::ImageRef;

/// A store in a directory that goes away with it.
pub(crate) struct TestStore {
    pub(crate) store: ImageStore,
    pub(crate) config: StoreConfig,
    directory: tempfile::TempDir,
}

impl TestStore {
    pub(crate) async fn open() -> Self {
        Self::with(StoreConfig::default()).await
    }

    pub(crate) async fn with(config: StoreConfig) -> Self {
        let config = StoreConfig {
            backoff: Backoff {
                first: Duration::from_millis(5),
                most: Duration::from_millis(20),
            },
            ..config
        };
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&directory.path().join("images"), config.clone())
            .await
            .unwrap();
        Self {
            store,
            config,
            directory,
        }
    }

    /// A path beside the store for what a test makes.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join("images").join(inside)
    }

    /// Names of the files in a directory of the store.
    pub(crate) fn files(&self, inside: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(inside)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The same directory as a new process would open it.
    pub(crate) async fn reopened(&self) -> ImageStore {
        ImageStore::open(&self.path(""), self.config.clone())
            .await
            .unwrap()
    }

    /// Proves that a failed call left neither image, layer, name nor scratch behind.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.store.list(), []);
        assert_eq!(self.files("layers"), [""; 0]);
        assert_eq!(self.files("blobs/sha256"), [""; 0]);
        assert_eq!(self.files("staging"), [""; 0]);
    }
}

pub(crate) fn image(name: &str) -> ImageRef {
    name.parse().unwrap()
}

pub(crate) fn chain(error: &ImageError) -> String {
    report(error)
}

pub(crate) fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until `fact` holds, leaving the runtime to what makes it true.
pub(crate) async fn wait_until(what: &str, fact: impl Fn() -> bool) {
    let wait = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(held.is_ok(), "waited in vain: {what}");
}
