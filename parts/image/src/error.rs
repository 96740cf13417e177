use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mayfly_types::{Digest, ErrorKind, ImageRef};

use crate::import::ImportError;
use crate::manifest::InvalidManifest;
use crate::registry::RegistryError;
use crate::unpack::UnpackError;

/// Why the store does not have, get or take in an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("this host has no image {0}")]
    UnknownDigest(Digest),
    #[error("this host has no image `{0}`")]
    UnknownName(Box<ImageRef>),
    #[error("image {image} is not unpacked yet: layer {layer} is missing")]
    NotReady { image: Digest, layer: Digest },
    #[error("find image `{image}`")]
    Resolve {
        image: Box<ImageRef>,
        #[source]
        source: Box<RegistryError>,
    },
    #[error("fetch layer {layer} of image `{image}`")]
    Fetch {
        image: Box<ImageRef>,
        layer: Digest,
        #[source]
        source: Box<RegistryError>,
    },
    #[error("pull image `{image}`")]
    Pull {
        image: Box<ImageRef>,
        /// Shared by all who waited for the same pull.
        #[source]
        source: Arc<ImageError>,
    },
    #[error("image `{image}` is unusable")]
    Manifest {
        image: Box<ImageRef>,
        #[source]
        source: InvalidManifest,
    },
    #[error("the image store is stopping")]
    Stopping,
    #[error("add it to the store")]
    Import {
        path: PathBuf,
        #[source]
        source: Box<ImportError>,
    },
    #[error("unpack layer {layer} of image `{image}`")]
    Layer {
        image: String,
        layer: Digest,
        #[source]
        source: Box<UnpackError>,
    },
    #[error("{action} {path}")]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            ImageError::UnknownDigest(_) | ImageError::UnknownName(_) => ErrorKind::NotFound,
            ImageError::NotReady { .. } => ErrorKind::Conflict,
            ImageError::Resolve { source, .. } | ImageError::Fetch { source, .. } => source.kind(),
            ImageError::Pull { source, .. } => source.kind(),
            ImageError::Manifest { .. } => ErrorKind::Invalid,
            ImageError::Stopping => ErrorKind::Unavailable,
            ImageError::Import { source, .. } => source.kind(),
            ImageError::Layer { source, .. } => source.kind(),
            ImageError::Disk { source, .. } => disk_kind(source),
        }
    }

    pub(crate) fn disk(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> ImageError {
        let path = path.into();
        move |source| ImageError::Disk {
            action,
            path,
            source,
        }
    }
}

/// A full disk is worth another try after space was made; anything else is our own trouble.
pub(crate) fn disk_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    }
}
