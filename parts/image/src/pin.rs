use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use mayfly_host_api::ImageInfo;
use mayfly_types::Digest;

use crate::store::Shared;

/// An image that no prune removes while this exists. Keep it until whoever needs the image is on record.
#[derive(Debug)]
pub struct Pinned {
    pub info: ImageInfo,
    pub(crate) _pin: Pin,
}

impl Deref for Pinned {
    type Target = ImageInfo;

    fn deref(&self) -> &ImageInfo {
        &self.info
    }
}

/// The guard behind [`Pinned`]; counted, so several may hold one image.
pub(crate) struct Pin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) digest: Digest,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.digest)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(count) = state.pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.digest);
            }
        }
    }
}
