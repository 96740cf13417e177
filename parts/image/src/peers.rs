//! Images that are in no registry: other stores of the fleet have them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mayfly_content::{digest_of, rename_durably};
use mayfly_types::{Digest, ImageRef};
use tracing::debug;

use crate::index::{Image, Origin};
use crate::manifest::{DOCUMENT_BYTES_MAX, Descriptor, Document};
use crate::store::{ImageStore, Shared};
use crate::{ImageError, Pinned};

/// The other stores of a fleet.
#[async_trait]
pub trait ImagePeers: Send + Sync + 'static {
    /// The digest of an image that a peer was given under this name, or has by the digest in it.
    async fn find(&self, image: &ImageRef) -> Option<Digest>;

    /// Brings a blob of at most `bytes_max` bytes into the file, as far as the peer is to be believed: who reads it checks
    /// it.
    async fn fetch(
        &self,
        blob: Digest,
        bytes_max: u64,
        into: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> io::Result<()>;
}

impl ImageStore {
    /// Asks `peers` for what is not here, before any registry, and keeps what is imported so that they can ask for it.
    /// Said once, before the store is used.
    pub fn set_peers(&self, peers: Arc<dyn ImagePeers>) {
        // A second word changes nothing.
        let _ = self.0.peers.set(peers);
    }

    /// What a peer may have: the image of this digest, or the one that was imported under this name.
    pub fn offered(&self, image: &ImageRef) -> Option<Digest> {
        let state = self.0.state();
        if let Some(digest) = image.digest() {
            return state.images.contains_key(&digest).then_some(digest);
        }
        let named = state.index.names.get(image)?;
        (named.origin == Origin::Import).then_some(named.digest)
    }

    /// Where a manifest, a configuration, or a layer that was imported lies; there may be nothing.
    pub fn blob_path(&self, blob: Digest) -> PathBuf {
        self.0.layout.blob(blob)
    }
}

impl Shared {
    /// Takes an image over from a peer; `None` if none has it.
    pub(crate) async fn fetch_from_peers(
        self: &Arc<Self>,
        image: &ImageRef,
    ) -> Result<Option<Pinned>, ImageError> {
        let Some(peers) = self.peers.get() else {
            return Ok(None);
        };
        let Some(digest) = peers.find(image).await else {
            return Ok(None);
        };
        if let Some(mut pinned) = self.pin(digest) {
            pinned.info.image = image.pinned(digest);
            return Ok(Some(pinned));
        }
        let documents = async {
            let manifest = self.peer_document(&**peers, digest).await?;
            let Document::Manifest(parsed) =
                Document::parse(&manifest).map_err(io::Error::other)?
            else {
                return Err(io::Error::other("it is no manifest"));
            };
            let config = self.peer_document(&**peers, parsed.config.digest).await?;
            let found = Image::new(digest, parsed, &config).map_err(io::Error::other)?;
            Ok((found, manifest, config))
        };
        let (found, manifest, config) = match documents.await {
            Ok(documents) => documents,
            Err(error) => {
                debug!(%image, %digest, %error, "image not taken over from a peer");
                return Ok(None);
            }
        };
        // What the name stands for is still the other's to say.
        let names = vec![(image.clone(), Origin::Registry)];
        let pinned = self.record(found, manifest, config, names).await?;
        Ok(pinned.into_iter().next())
    }

    async fn peer_document(&self, peers: &dyn ImagePeers, digest: Digest) -> io::Result<Vec<u8>> {
        let path = self.layout.scratch("document");
        let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
        let fetched = peers.fetch(digest, limit, &path, &|_| ()).await;
        let read = match fetched {
            Ok(()) => tokio::fs::read(&path).await,
            Err(error) => Err(error),
        };
        // It may never have been made.
        let _ = std::fs::remove_file(&path);
        let bytes = read?;
        if digest_of(&bytes) != digest {
            return Err(io::Error::other(format!("its digest is not {digest}")));
        }
        Ok(bytes)
    }

    /// Whether a peer had the layer. Its content is checked when it is unpacked.
    pub(crate) async fn fetch_layer_from_peers(
        &self,
        layer: &Descriptor,
        into: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> bool {
        let Some(peers) = self.peers.get() else {
            return false;
        };
        let fetched = peers.fetch(layer.digest, layer.size, into, progress).await;
        if let Err(error) = &fetched {
            debug!(layer = %layer.digest, %error, "layer not taken over from a peer");
            // A registry's transfer would continue a file.
            let _ = std::fs::remove_file(into);
        }
        fetched.is_ok()
    }

    /// Keeps the archive of a layer for peers and mirrors, whose copy must have the digest that the manifest names. Blocks.
    pub(crate) fn keep_blob<R: io::Read>(
        &self,
        digest: Digest,
        open: impl FnOnce() -> io::Result<R>,
    ) -> Result<(), ImageError> {
        let place = self.layout.blob(digest);
        let wanted = self.peers.get().is_some() || self.config.keeps_archives;
        if !wanted || place.exists() {
            return Ok(());
        }
        let scratch = self.layout.scratch("keep");
        let kept = File::create(&scratch).and_then(|mut file| {
            io::copy(&mut open()?, &mut file)?;
            file.sync_all()?;
            rename_durably(&scratch, &place)
        });
        kept.map_err(|source| {
            // It may never have been made.
            let _ = std::fs::remove_file(&scratch);
            ImageError::Disk {
                action: "write",
                path: place,
                source,
            }
        })
    }
}
