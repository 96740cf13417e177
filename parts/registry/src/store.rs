use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use mayfly_runtime::{Clock, Entropy};

use crate::RegistryError;
use crate::layout::Layout;
use crate::upload::Session;

/// The images of a cloud. Clones share the registry; one process at a time may have a directory open.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) layout: Layout,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Uploads that were written to in this process.
    pub(crate) sessions: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Session>>>>,
    /// Written by whoever removes, read by whoever adds or relies on what is here: a manifest finds its blobs, and they
    /// stay.
    pub(crate) removal: RwLock<()>,
}

impl Registry {
    /// Opens the registry in `directory`, making it if needed. Uploads that an earlier process had begun can go on.
    pub async fn open(
        directory: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Registry, RegistryError> {
        let directory = directory.to_owned();
        blocking(move || {
            let layout =
                Layout::create(&directory).map_err(RegistryError::disk("open the registry"))?;
            Ok(Registry(Arc::new(Shared {
                layout,
                clock,
                entropy,
                sessions: Mutex::default(),
                removal: RwLock::default(),
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

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work)
        .await
        .expect("file work does not panic")
}
