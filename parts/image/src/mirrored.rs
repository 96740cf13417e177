//! What a mirror of registries shows: documents and blobs as they are, not unpacked.

use std::io;
use std::path::Path;

use mayfly_types::{Digest, ImageRef};

use crate::RegistryError;
use crate::index::Origin;
use crate::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, OCI_INDEX, OCI_MANIFEST,
};
use crate::registry::{Repository, Transfer};
use crate::store::ImageStore;

/// A manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl ImageStore {
    /// The manifest of the image that was imported under this name, or has the digest in it and was imported.
    pub async fn imported_manifest(&self, image: &ImageRef) -> Option<Mirrored> {
        let digest = {
            let state = self.0.state();
            match image.digest() {
                Some(digest) => {
                    let mut names = state.index.names.values();
                    let imported =
                        names.any(|name| name.digest == digest && name.origin == Origin::Import);
                    imported.then_some(digest)?
                }
                None => {
                    let named = state.index.names.get(image)?;
                    (named.origin == Origin::Import).then_some(named.digest)?
                }
            }
        };
        let bytes = tokio::fs::read(self.blob_path(digest)).await.ok()?;
        mirrored(bytes)
    }

    /// The manifest or index that the image's registry has now.
    pub async fn registry_manifest(&self, image: &ImageRef) -> Result<Mirrored, RegistryError> {
        let repository = Repository::of(image, None, &self.0.client, &self.0.config);
        let bytes = repository.raw_manifest(image).await?;
        mirrored(bytes).ok_or_else(|| repository.unusable(image))
    }

    /// Brings a blob into a file, from what was imported or from the image's registry, and checks its digest. A file that
    /// holds the beginning is gone on with.
    pub async fn registry_blob(
        &self,
        image: &ImageRef,
        digest: Digest,
        size: u64,
        into: &Path,
    ) -> Result<(), RegistryError> {
        if link_or_copy(&self.blob_path(digest), into).await.is_ok() {
            return Ok(());
        }
        let repository = Repository::of(image, None, &self.0.client, &self.0.config);
        let blob = Descriptor {
            media_type: String::new(),
            digest,
            size,
            platform: None,
            annotations: None,
        };
        let transfer = Transfer {
            repository: &repository,
            blob: &blob,
            path: into,
            progress: &|_| (),
        };
        transfer.run().await
    }
}

/// Blobs of the store are never changed, so a second name for the file is as good as a copy.
async fn link_or_copy(from: &Path, into: &Path) -> io::Result<()> {
    tokio::fs::metadata(from).await?;
    match tokio::fs::remove_file(into).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match tokio::fs::hard_link(from, into).await {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            tokio::fs::copy(from, into).await.map(drop)
        }
        other => other,
    }
}

/// `None` for what is no manifest. What it says of itself is not always there; the form tells as well.
fn mirrored(bytes: Vec<u8>) -> Option<Mirrored> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        media_type: Option<String>,
    }
    let usual = match Document::parse(&bytes).ok()? {
        Document::Manifest(_) => OCI_MANIFEST,
        Document::Index(_) => OCI_INDEX,
    };
    let stated: Stated = serde_json::from_slice(&bytes).ok()?;
    let known = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
    let stated = stated
        .media_type
        .filter(|kind| known.contains(&kind.as_str()));
    Some(Mirrored {
        media_type: stated.unwrap_or_else(|| usual.to_owned()),
        bytes,
    })
}
