use std::collections::BTreeMap;
use std::fs;
use std::io;

use mayfly_content::digest_of;
use mayfly_types::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::blobs::Layout;
use crate::image_config::{ConfigBlob, ImageConfig};
use crate::manifest::{Descriptor, Document, InvalidManifest, Manifest};

/// What names stand for, and which images are here: the content of `index.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    pub(crate) names: BTreeMap<ImageRef, Named>,
    /// The name under which each image came last.
    pub(crate) images: BTreeMap<Digest, ImageRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) digest: Digest,
    pub(crate) origin: Origin,
}

/// Where a name came from decides who is asked what it stands for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Given to an import: this host is the only authority.
    Import,
    /// A registry's answer, which may change.
    Registry,
}

const VERSION: u32 = 1;

impl Default for Index {
    fn default() -> Self {
        Self {
            version: VERSION,
            names: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }
}

impl Index {
    /// The stored index; an absent file is an empty one.
    pub(crate) fn load(layout: &Layout) -> io::Result<Index> {
        let bytes = match fs::read(layout.index()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(error),
        };
        let index: Index = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if index.version != VERSION {
            return Err(io::Error::other(format!(
                "it has version {}, this program reads {VERSION}",
                index.version
            )));
        }
        Ok(index)
    }

    pub(crate) fn store(&self, layout: &Layout) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).expect("an index is plain data");
        layout.write_durably(&layout.index(), &bytes)
    }

    /// Drops an image and all names that stand for it.
    pub(crate) fn forget(&mut self, digest: Digest) {
        self.images.remove(&digest);
        self.names.retain(|_, named| named.digest != digest);
    }
}

/// An image whose manifest and configuration are here; its layers may not be.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) digest: Digest,
    pub(crate) config_digest: Digest,
    pub(crate) config: ImageConfig,
    /// Lowest first.
    pub(crate) layers: Vec<ImageLayer>,
}

#[derive(Clone, Debug)]
pub(crate) struct ImageLayer {
    pub(crate) diff_id: Digest,
    /// The blob as the registry has it.
    pub(crate) blob: Descriptor,
}

impl Image {
    /// Puts a manifest and its configuration together; both are checked against the digests they go by.
    pub(crate) fn new(
        digest: Digest,
        manifest: Manifest,
        config: &[u8],
    ) -> Result<Image, InvalidManifest> {
        let config: ConfigBlob = serde_json::from_slice(config).map_err(InvalidManifest::Json)?;
        let (config, diff_ids) = config.into_parts();
        if diff_ids.len() != manifest.layers.len() {
            return Err(InvalidManifest::LayerCount {
                layers: manifest.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let layers = diff_ids
            .into_iter()
            .zip(manifest.layers)
            .map(|(diff_id, blob)| ImageLayer { diff_id, blob })
            .collect();
        Ok(Image {
            digest,
            config_digest: manifest.config.digest,
            config,
            layers,
        })
    }

    /// Reads an image from the blobs; `None` if they are damaged, which is logged.
    pub(crate) fn load(layout: &Layout, digest: Digest) -> Option<Image> {
        let read = |digest: Digest| {
            fs::read(layout.blob(digest))
                .ok()
                .filter(|bytes| digest_of(bytes) == digest)
        };
        let image = read(digest).and_then(|bytes| match Document::parse(&bytes) {
            Ok(Document::Manifest(manifest)) => {
                let config = read(manifest.config.digest)?;
                Image::new(digest, manifest, &config).ok()
            }
            _ => None,
        });
        if image.is_none() {
            warn!(image = %digest, "image forgotten: its manifest or configuration is damaged");
        }
        image
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(layer.blob.size))
    }
}
