use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use mayfly_content::rename_durably;
use mayfly_types::Digest;
use tracing::warn;

use crate::ImageError;
use crate::prune::remove_counting;
use crate::store::{Shared, State};
use crate::unpack::{UnpackError, unpack};

/// Where the bytes of a layer come from once it is its turn.
pub(crate) struct LayerSource<R> {
    pub(crate) blob: R,
    /// Compressed size, as far as known.
    pub(crate) bytes: u64,
}

/// One lock for each layer being worked on, so that two images with a common layer unpack it once.
#[derive(Default)]
pub(crate) struct LayerLocks(HashMap<Digest, Weak<tokio::sync::Mutex<()>>>);

impl LayerLocks {
    pub(crate) fn lock_of(&mut self, diff_id: Digest) -> Arc<tokio::sync::Mutex<()>> {
        if let Some(lock) = self.0.get(&diff_id).and_then(Weak::upgrade) {
            return lock;
        }
        self.0.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        self.0.insert(diff_id, Arc::downgrade(&lock));
        lock
    }
}

/// Layers that no prune removes while this exists, for images that are not in the index yet.
pub(crate) struct LayerClaim {
    shared: Arc<Shared>,
    pub(crate) layers: Vec<Digest>,
}

impl Drop for LayerClaim {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        for layer in &self.layers {
            if let Some(count) = state.claims.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    state.claims.remove(layer);
                }
            }
        }
    }
}

impl Shared {
    pub(crate) fn claim_layers(self: &Arc<Self>, layers: Vec<Digest>) -> LayerClaim {
        let mut state = self.state();
        for layer in &layers {
            *state.claims.entry(*layer).or_default() += 1;
        }
        LayerClaim {
            shared: self.clone(),
            layers,
        }
    }

    pub(crate) fn has_layer(&self, diff_id: Digest) -> bool {
        self.state().layers.contains(&diff_id)
    }

    /// Unpacks what `open` gives into the layer's place, unless it is there. `image` is for messages.
    ///
    /// The caller holds the layer's lock, which goes along: a dropped future stops the unpacking and leaves nothing.
    pub(crate) async fn unpack_layer<R: Read + Send + 'static>(
        self: &Arc<Self>,
        lock: tokio::sync::OwnedMutexGuard<()>,
        image: String,
        diff_id: Digest,
        open: impl FnOnce() -> io::Result<LayerSource<R>> + Send + 'static,
    ) -> Result<(), ImageError> {
        let permit = self
            .unpacks
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let stop = self.stop.child_token();
        let told = stop.clone();
        let _stop_when_dropped = stop.drop_guard();
        let shared = self.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let _held = (lock, permit);
            if shared.has_layer(diff_id) {
                return Ok(());
            }
            let scratch = shared.layout.scratch("layer");
            let disk = |action| {
                let path = scratch.clone();
                move |source| UnpackError::Disk {
                    action,
                    path,
                    source,
                }
            };
            let result = open()
                .map_err(disk("read the layer for"))
                .and_then(|source| {
                    let limits = &shared.config.limits;
                    unpack(source.blob, source.bytes, diff_id, &scratch, limits, &told)
                })
                .and_then(|()| {
                    shared
                        .adopt_layer(diff_id, &scratch)
                        .map_err(disk("rename"))
                });
            if result.is_err() && fs::symlink_metadata(&scratch).is_ok() {
                remove_counting(&scratch);
            }
            result
        })
        .await
        .expect("unpacking does not panic");
        unpacked.map_err(|source| ImageError::Layer {
            image,
            layer: diff_id,
            source: Box::new(source),
        })
    }

    /// Removes those of `layers` that no image has and nobody claims, after what should have become an image did not.
    pub(crate) async fn remove_unneeded(self: &Arc<Self>, layers: Vec<Digest>) {
        let shared = self.clone();
        let removal = tokio::task::spawn_blocking(move || {
            let mut state = shared.state();
            let needed = state.needed_layers();
            let trash: Vec<_> = layers
                .into_iter()
                .filter(|layer| !needed.contains(layer))
                .filter_map(|layer| shared.discard_layer(&mut state, layer))
                .collect();
            drop(state);
            for path in trash {
                remove_counting(&path);
            }
        });
        removal.await.expect("removing does not panic");
    }

    /// Moves a layer out of the way, to be removed. Done while the state is held: whoever needs the layer a moment later
    /// unpacks it anew, at its place.
    pub(crate) fn discard_layer(&self, state: &mut State, layer: Digest) -> Option<PathBuf> {
        if !state.layers.contains(&layer) {
            return None;
        }
        let away = self.layout.scratch("trash");
        if let Err(error) = fs::rename(self.layout.layer(layer), &away) {
            warn!(%layer, %error, "layer not removed");
            return None;
        }
        state.layers.remove(&layer);
        Some(away)
    }

    /// Moves a complete layer to its place.
    fn adopt_layer(&self, diff_id: Digest, scratch: &Path) -> io::Result<()> {
        let place = self.layout.layer(diff_id);
        match rename_durably(scratch, &place) {
            Ok(()) => {}
            // An unpacking whose caller went away was faster.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                remove_counting(scratch);
            }
            Err(error) => return Err(error),
        }
        self.state().layers.insert(diff_id);
        Ok(())
    }
}
