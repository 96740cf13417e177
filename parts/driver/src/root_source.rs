use std::error::Error;
use std::path::PathBuf;

use mayfly_image::ImageStore;
use mayfly_types::Digest;

/// Where the driver finds the unpacked layers of an image.
///
/// The directories must exist as long as any machine is launched from them: the supervisor, which knows all machines,
/// keeps their images from being pruned.
pub trait RootSource: Send + Sync + 'static {
    /// Directories for overlayfs, topmost first.
    fn layers(&self, image: Digest) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>>;
}

impl RootSource for ImageStore {
    fn layers(&self, image: Digest) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>> {
        Ok(ImageStore::layers(self, image)?)
    }
}
