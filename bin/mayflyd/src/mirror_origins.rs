//! The registries that this cloud's registry is a mirror of, asked by the store of images.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use mayfly_image::{ImageStore, Mirrored, RegistryError};
use mayfly_registry::{OriginError, OriginManifest, Origins};
use mayfly_types::{Digest, ImageRef};

pub(crate) struct MirrorOrigins {
    pub(crate) images: ImageStore,
    /// Never names of this cloud's own registry: what the store may read there, others may not.
    pub(crate) names: BTreeSet<String>,
}

#[async_trait]
impl Origins for MirrorOrigins {
    fn mirrors(&self, registry: &str) -> bool {
        self.names.contains(registry)
    }

    async fn imported(&self, image: &ImageRef) -> Option<OriginManifest> {
        self.images.imported_manifest(image).await.map(manifest)
    }

    async fn manifest(&self, image: &ImageRef) -> Result<OriginManifest, OriginError> {
        let found = self.images.registry_manifest(image).await;
        found.map(manifest).map_err(refusal)
    }

    async fn blob(
        &self,
        image: &ImageRef,
        blob: Digest,
        size: u64,
        into: &Path,
    ) -> Result<(), OriginError> {
        let brought = self.images.registry_blob(image, blob, size, into).await;
        brought.map_err(refusal)
    }
}

fn manifest(found: Mirrored) -> OriginManifest {
    OriginManifest {
        media_type: found.media_type,
        bytes: found.bytes,
    }
}

fn refusal(error: RegistryError) -> OriginError {
    match error.kind().is_transient() {
        true => OriginError::Away(Box::new(error)),
        false => OriginError::Unknown(Box::new(error)),
    }
}
