use std::io;
use std::path::PathBuf;

use mayfly_types::{Digest, ErrorKind, ImageRef};

use crate::import::ImportError;
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
    #[error("import {path}")]
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
