use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mayfly_content::digest_from_name;
use mayfly_host_api::Pruned;
use mayfly_types::{Digest, ImageRef, Timestamp};
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use crate::ImageError;
use crate::blobs::PARTIAL;
use crate::index::Origin;
use crate::store::{IndexWriter, Shared};

/// A prune that has begun: from here on every pinned image counts as needed, even if its pin goes before the end.
///
/// That is what makes the order safe: begin, then read which images machines need, then remove the rest. Whoever is
/// about to need an image holds a pin until it is on record, so either the record or the pin is seen.
pub struct Pruning {
    pub(crate) shared: Arc<Shared>,
    pub(crate) _writer: OwnedMutexGuard<IndexWriter>,
}

impl Pruning {
    /// Removes every image that is not in `in_use`, not named in `keep` and not pinned, then every layer no image has.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the removal.
    pub async fn remove_except(
        self,
        in_use: &HashSet<Digest>,
        keep: &[ImageRef],
    ) -> Result<Pruned, ImageError> {
        let (in_use, keep) = (in_use.clone(), keep.to_vec());
        tokio::task::spawn_blocking(move || self.remove(&in_use, &keep))
            .await
            .expect("removing does not panic")
    }

    /// Notes that the images `in_use` are needed at `now`, and returns those that no collection by age may take: used
    /// within the last `kept`, or imported, which nobody could fetch again.
    ///
    /// The time of an image's last use is that of its manifest's file, so it outlives restarts.
    pub async fn spared(
        &self,
        in_use: &HashSet<Digest>,
        now: Timestamp,
        kept: Duration,
    ) -> HashSet<Digest> {
        let (shared, in_use) = (self.shared.clone(), in_use.clone());
        tokio::task::spawn_blocking(move || shared.spared(&in_use, now, kept))
            .await
            .expect("looking at files does not panic")
    }

    fn remove(self, in_use: &HashSet<Digest>, keep: &[ImageRef]) -> Result<Pruned, ImageError> {
        let shared = self.shared.clone();
        let layout = &shared.layout;
        let mut pruned = Pruned::default();
        let mut trash = Vec::new();
        let (index, blobs) = {
            let mut state = shared.state();
            let mut needed: HashSet<Digest> = state.touched.take().unwrap_or_default();
            needed.extend(in_use);
            needed.extend(state.pins.keys());
            needed.extend(keep.iter().filter_map(|name| {
                let named = state.index.names.get(name).map(|named| named.digest);
                named.or(name.digest())
            }));
            let mut index = state.index.clone();
            let doomed: Vec<Digest> = state
                .images
                .keys()
                .filter(|digest| !needed.contains(digest))
                .copied()
                .collect();
            for digest in doomed {
                if let Some(name) = index.images.get(&digest) {
                    pruned.images.push(name.pinned(digest));
                }
                index.forget(digest);
                state.images.remove(&digest);
                state.logins.remove(&digest);
            }
            state.index = index.clone();
            let layers = state.needed_layers();
            let orphans: Vec<Digest> = state.layers.difference(&layers).copied().collect();
            for layer in orphans {
                if let Some(away) = shared.discard_layer(&mut state, layer) {
                    trash.push(away);
                    pruned.layers += 1;
                }
            }
            let blobs: HashSet<Digest> = state
                .images
                .values()
                .flat_map(|image| {
                    // Layers lie there when they were imported: other stores may ask for them.
                    let layers = image.layers.iter().map(|layer| layer.blob.digest);
                    layers.chain([image.digest, image.config_digest])
                })
                .collect();
            (index, blobs)
        };
        index
            .store(layout)
            .map_err(ImageError::disk("write", layout.index()))?;
        // While the index is ours: nobody writes a blob that is found unneeded here.
        for path in unneeded_blobs(&layout.blobs(), &blobs) {
            pruned.freed_bytes += remove_counting(&path);
        }
        pruned.freed_bytes += shared.remove_idle_partials();
        drop(self);
        for path in trash {
            pruned.freed_bytes += remove_counting(&path);
        }
        info!(
            images = pruned.images.len(),
            layers = pruned.layers,
            freed_bytes = pruned.freed_bytes,
            "images pruned"
        );
        Ok(pruned)
    }
}

impl Drop for Pruning {
    fn drop(&mut self) {
        self.shared.state().touched = None;
    }
}

fn unneeded_blobs(directory: &Path, needed: &HashSet<Digest>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            digest_from_name(&entry.file_name()).is_none_or(|digest| !needed.contains(&digest))
        })
        .map(|entry| entry.path())
        .collect()
}

impl Shared {
    fn spared(&self, in_use: &HashSet<Digest>, now: Timestamp, kept: Duration) -> HashSet<Digest> {
        let (images, mut spared) = {
            let state = self.state();
            let imported = state
                .index
                .names
                .values()
                .filter(|named| named.origin == Origin::Import)
                .map(|named| named.digest);
            let images: Vec<Digest> = state.images.keys().copied().collect();
            (images, imported.collect::<HashSet<Digest>>())
        };
        let millis = |at: Timestamp| u64::try_from(at.as_millis()).unwrap_or_default();
        let since = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let (now, limit) = (since(millis(now)), since(millis(now - kept)));
        for digest in images {
            let path = self.layout.blob(digest);
            if in_use.contains(&digest) {
                let noted = fs::File::open(&path).and_then(|file| file.set_modified(now));
                if let Err(error) = noted {
                    warn!(path = %path.display(), %error, "use of an image not noted");
                    spared.insert(digest);
                }
                continue;
            }
            // In doubt it stays.
            let used = fs::metadata(&path).and_then(|found| found.modified());
            if used.map_or(true, |at| at > limit) {
                spared.insert(digest);
            }
        }
        spared
    }

    /// Removes partial downloads that no pull is writing; none begins meanwhile.
    fn remove_idle_partials(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.layout.staging()) else {
            return 0;
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let partials: Vec<PathBuf> = paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == PARTIAL)
            })
            .collect();
        let state = self.state();
        let idle = partials.iter().filter(|path| {
            let digest = path.file_stem().and_then(digest_from_name);
            digest.is_none_or(|digest| !state.transfers.contains(&digest))
        });
        idle.map(|path| remove_counting(path)).sum()
    }
}

/// Removes a file or tree without following links; returns the bytes it occupied.
pub(crate) fn remove_counting(path: &Path) -> u64 {
    let freed = occupied(path);
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => freed,
        Err(error) => {
            warn!(path = %path.display(), %error, "not removed; the next start tries again");
            0
        }
    }
}

fn occupied(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = metadata.blocks() * 512 / metadata.nlink().max(1);
    if !metadata.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.fold(metadata.blocks() * 512, |sum, entry| {
        sum + occupied(&entry.path())
    })
}
