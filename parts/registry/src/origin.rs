use std::path::Path;

use async_trait::async_trait;
use mayfly_types::{Digest, ImageRef};

/// The registries that this one is a mirror of.
#[async_trait]
pub trait Origins: Send + Sync + 'static {
    /// Whether a registry of this name is shown.
    fn mirrors(&self, registry: &str) -> bool;

    /// The manifest of an image that was given to this cloud under this name. It wins over every registry.
    async fn imported(&self, image: &ImageRef) -> Option<OriginManifest>;

    /// The manifest or index that the image's registry has now.
    async fn manifest(&self, image: &ImageRef) -> Result<OriginManifest, OriginError>;

    /// Brings a blob of `size` bytes into the file, going on with what is there, and checks its digest.
    async fn blob(
        &self,
        image: &ImageRef,
        blob: Digest,
        size: u64,
        into: &Path,
    ) -> Result<(), OriginError>;
}

#[derive(Clone, Debug)]
pub struct OriginManifest {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// Why an origin gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// It says that there is no such thing, or not for this cloud.
    #[error("not there")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("not reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}
