use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use mayfly_runtime::{Clock, Entropy};
use mayfly_types::Digest;

use crate::RegistryError;
use crate::layout::Layout;
use crate::locks::DigestLocks;
use crate::remote::Remote;
use crate::settings::{RegistryLimits, RegistrySettings};
use crate::upload::Session;

/// The images of a cloud. Clones share the registry; one process at a time may have a directory open.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) layout: Layout,
    pub(crate) limits: RegistryLimits,
    /// Where layers go, if not into the layout.
    pub(crate) remote: Option<Remote>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Uploads that were written to in this process.
    pub(crate) sessions: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Session>>>>,
    /// Written by whoever removes, read by whoever adds or relies on what is here: a manifest finds its blobs, and they
    /// stay.
    pub(crate) removal: RwLock<()>,
    /// Content on its way in, and how often.
    arriving: Mutex<HashMap<Digest, usize>>,
    /// One at a time brings a blob of an origin.
    pub(crate) fetches: DigestLocks,
    /// One at a time sends content to the bucket in parts.
    pub(crate) sendings: DigestLocks,
}

impl Registry {
    /// Opens the registry in `directory`, making it if needed. Uploads that an earlier process had begun can go on.
    pub async fn open(
        directory: &Path,
        settings: RegistrySettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Registry, RegistryError> {
        let directory = directory.to_owned();
        let limits = settings.limits;
        let remote = settings
            .bucket
            .map(|bucket| Remote::new(bucket, clock.clone()));
        blocking(move || {
            let layout =
                Layout::create(&directory).map_err(RegistryError::disk("open the registry"))?;
            Ok(Registry(Arc::new(Shared {
                layout,
                limits,
                remote,
                clock,
                entropy,
                sessions: Mutex::default(),
                removal: RwLock::default(),
                arriving: Mutex::default(),
                fetches: DigestLocks::default(),
                sendings: DigestLocks::default(),
            })))
        })
        .await
    }

    /// Runs file work where it does not hold up others.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let shared = self.0.clone();
        blocking(move || work(&shared)).await
    }
}

impl Shared {
    pub(crate) fn arriving(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.arriving.lock().expect("no holder of this lock panics")
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work)
        .await
        .expect("file work does not panic")
}
