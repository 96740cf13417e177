use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use mayfly_registry::{OriginError, OriginManifest, Origins};
use mayfly_types::{Digest, ImageRef};

use crate::desk::{MANIFEST, digest, image};

/// The registry `hub.test`, as the test fills it; `bucket.test` is one that is not mirrored.
#[derive(Default)]
pub(crate) struct Elsewhere(Mutex<State>);

#[derive(Default)]
struct State {
    away: bool,
    manifests: BTreeMap<String, String>,
    imported: BTreeMap<String, String>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    asked: Vec<String>,
}

impl Elsewhere {
    /// Puts an image of one layer under a name; returns its digest.
    pub(crate) fn put(&self, name: &str, layer: &[u8]) -> Digest {
        let mut state = self.0.lock().unwrap();
        let text = state.image(layer);
        state.manifests.insert(name.to_owned(), text.clone());
        digest(text.as_bytes())
    }

    /// Puts a manifest under a name, and nothing that it needs.
    pub(crate) fn put_manifest(&self, name: &str, text: &str) {
        let mut state = self.0.lock().unwrap();
        state.manifests.insert(name.to_owned(), text.to_owned());
    }

    pub(crate) fn import(&self, name: &str, layer: &[u8]) {
        let mut state = self.0.lock().unwrap();
        let text = state.image(layer);
        state.imported.insert(name.to_owned(), text);
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn ask(&self, what: String) -> Result<std::sync::MutexGuard<'_, State>, OriginError> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(what);
        match state.away {
            true => Err(OriginError::Away("nobody answers".into())),
            false => Ok(state),
        }
    }
}

impl State {
    fn image(&mut self, layer: &[u8]) -> String {
        for blob in [b"{}", layer] {
            self.blobs.insert(digest(blob), blob.to_vec());
        }
        image(layer, "")
    }
}

fn manifest(text: &str) -> OriginManifest {
    OriginManifest {
        media_type: MANIFEST.to_owned(),
        bytes: text.as_bytes().to_vec(),
    }
}

#[async_trait]
impl Origins for Elsewhere {
    fn mirrors(&self, registry: &str) -> bool {
        registry == "hub.test" || registry == "docker.io"
    }

    async fn imported(&self, image: &ImageRef) -> Option<OriginManifest> {
        let state = self.0.lock().unwrap();
        state
            .imported
            .get(&image.to_string())
            .map(|text| manifest(text))
    }

    async fn manifest(&self, image: &ImageRef) -> Result<OriginManifest, OriginError> {
        let state = self.ask(image.to_string())?;
        let found = state
            .manifests
            .get(&image.to_string())
            .map(|text| manifest(text));
        found.ok_or_else(|| OriginError::Unknown("no such manifest".into()))
    }

    async fn blob(
        &self,
        _: &ImageRef,
        blob: Digest,
        size: u64,
        into: &Path,
    ) -> Result<(), OriginError> {
        let state = self.ask(blob.to_string())?;
        let bytes = state.blobs.get(&blob);
        let bytes = bytes.ok_or_else(|| OriginError::Unknown("no such blob".into()))?;
        assert_eq!(bytes.len() as u64, size);
        std::fs::write(into, bytes).map_err(|error| OriginError::Away(Box::new(error)))
    }
}
