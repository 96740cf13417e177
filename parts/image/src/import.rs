mod source;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use mayfly_content::digest_of;
use mayfly_types::{Digest, ErrorKind, ImageRef};
use serde::Deserialize;
use tracing::info;

use crate::error::disk_kind;
use crate::index::{Image, Origin};
use crate::layer::LayerSource;
use crate::manifest::{
    DOCUMENT_BYTES_MAX, Descriptor, Document, Index, InvalidManifest, Manifest, OCI_CONFIG,
    OCI_LAYER, OCI_MANIFEST,
};
use crate::store::{ImageStore, Shared};
use crate::{ImageError, Pinned};
use source::Source;
pub use source::SourceError;

/// Why an archive or layout could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("open it")]
    Source(#[from] SourceError),
    #[error("it is neither an OCI layout (index.json) nor a docker archive (manifest.json)")]
    UnknownForm,
    #[error("`{name}` is not what its kind of document must be")]
    Document {
        name: String,
        #[source]
        source: InvalidManifest,
    },
    #[error("`{name}` has digest {found}")]
    Digest { name: String, found: Digest },
    #[error("`{name}` has {found} bytes instead of {stated}")]
    Size {
        name: String,
        stated: u64,
        found: u64,
    },
    #[error("it has no image")]
    Empty,
    #[error(
        "it has {0} images, so they cannot all get the name that was asked for; leave the name out"
    )]
    OneNameForMany(usize),
    #[error("its image has no complete name (`{found}`); give one such as `hello:v1`")]
    NameNeeded { found: String },
    #[error("indexes are nested more than {0} deep")]
    TooDeep(usize),
}

impl ImportError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            ImportError::Source(SourceError::Disk { source, .. }) => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => disk_kind(source),
            },
            _ => ErrorKind::Invalid,
        }
    }
}

const INDEX_DEPTH_MAX: usize = 4;

/// One image of a source, read and checked, its layers still to be unpacked.
struct Found {
    names: Vec<ImageRef>,
    manifest: Vec<u8>,
    config: Vec<u8>,
    image: Image,
    /// Where each layer is in the source, lowest first.
    layers: Vec<String>,
}

/// An entry of `manifest.json` in a docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ImageStore {
    /// Takes in the images of an OCI layout (directory or tar) or of a docker archive; tars may be compressed.
    ///
    /// Without a `name` the images get the names they have in the source. All of them are unpacked before the first is
    /// recorded: a source with a bad layer adds nothing.
    ///
    /// # Cancellation
    /// Dropping the future stops the import.
    pub async fn import(
        &self,
        path: &Path,
        name: Option<&ImageRef>,
    ) -> Result<Vec<Pinned>, ImageError> {
        let failed = |source| ImageError::Import {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let shared = self.0.clone();
        let (source, found) = {
            let shared = shared.clone();
            let (path, name) = (path.to_owned(), name.cloned());
            tokio::task::spawn_blocking(move || read_source(&shared, &path, name))
                .await
                .expect("reading a source does not panic")
                .map_err(failed)?
        };
        let layers = found.iter().flat_map(|found| {
            let image = found.names[0].to_string();
            let layers = found.image.layers.iter().zip(&found.layers);
            layers.map(move |(layer, at)| {
                let wanted = (image.clone(), layer.blob.digest, at.clone());
                (layer.diff_id, wanted)
            })
        });
        let layers: BTreeMap<Digest, (String, Digest, String)> = layers.collect();
        let claim = shared.claim_layers(layers.keys().copied().collect());
        let source = Arc::new(source);
        let failing = AtomicBool::new(false);
        // Each unpacking is waited for, also after one failed, so that nothing is still being written on return.
        let results: Vec<Result<(), ImageError>> = stream::iter(layers)
            .map(|(diff_id, (image, blob, at))| {
                let (shared, source, failing) = (shared.clone(), source.clone(), &failing);
                async move {
                    let lock = shared.state().locks.lock_of(diff_id);
                    let lock = lock.lock_owned().await;
                    if failing.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let kept = (source.clone(), at.clone());
                    let open = move || {
                        let (blob, bytes) = source.piece(&at).map_err(io::Error::other)?;
                        Ok(LayerSource { blob, bytes })
                    };
                    let mut result = shared.unpack_layer(lock, image, diff_id, open).await;
                    if result.is_ok() {
                        result = shared.keep_layer(blob, kept).await;
                    }
                    failing.fetch_or(result.is_err(), Ordering::Relaxed);
                    result
                }
            })
            .buffer_unordered(shared.config.unpacks_max.max(1))
            .collect()
            .await;
        if let Some(error) = results.into_iter().find_map(Result::err) {
            let layers = claim.layers.clone();
            drop(claim);
            shared.remove_unneeded(layers).await;
            return Err(error);
        }
        let mut imported = Vec::new();
        for found in found {
            info!(image = %found.names[0], digest = %found.image.digest, "image imported");
            let named = found
                .names
                .into_iter()
                .map(|name| (name, Origin::Import))
                .collect();
            let pins = shared
                .record(found.image, found.manifest, found.config, named)
                .await?;
            imported.extend(pins);
        }
        Ok(imported)
    }
}

impl Shared {
    /// Keeps a layer of a source for peers.
    async fn keep_layer(
        self: &Arc<Self>,
        blob: Digest,
        (source, at): (Arc<Source>, String),
    ) -> Result<(), ImageError> {
        let shared = self.clone();
        tokio::task::spawn_blocking(move || {
            let open = || Ok(source.piece(&at).map_err(io::Error::other)?.0);
            shared.keep_blob(blob, open)
        })
        .await
        .expect("copying a layer does not panic")
    }
}

fn read_source(
    shared: &Shared,
    path: &Path,
    name: Option<ImageRef>,
) -> Result<(Source, Vec<Found>), ImportError> {
    let scratch = shared.layout.scratch("archive");
    let source = Source::open(path, scratch, &shared.config.limits)?;
    let mut found = if source.has("index.json") {
        read_layout(&source, &shared.config.architecture)?
    } else if source.has("manifest.json") {
        read_saved(&source)?
    } else {
        return Err(ImportError::UnknownForm);
    };
    if found.is_empty() {
        return Err(ImportError::Empty);
    }
    if let Some(name) = name {
        if found.len() > 1 {
            return Err(ImportError::OneNameForMany(found.len()));
        }
        found[0].0 = vec![name.to_string()];
    }
    let found = found
        .into_iter()
        .map(|(names, mut found)| {
            found.names = names
                .iter()
                .map(|name| complete_name(name))
                .collect::<Result<_, _>>()?;
            if found.names.is_empty() {
                return Err(ImportError::NameNeeded {
                    found: String::new(),
                });
            }
            Ok(found)
        })
        .collect::<Result<Vec<Found>, ImportError>>()?;
    Ok((source, found))
}

/// A name that says more than a tag. Names in archives may be written with a digest, which the content decides here.
fn complete_name(text: &str) -> Result<ImageRef, ImportError> {
    let needed = || ImportError::NameNeeded {
        found: text.chars().take(200).collect(),
    };
    if !text.contains(['/', ':']) {
        return Err(needed());
    }
    text.parse().map_err(|_| needed())
}

type Named = (Vec<String>, Found);

fn read_layout(source: &Source, architecture: &str) -> Result<Vec<Named>, ImportError> {
    let bytes = source.document("index.json", DOCUMENT_BYTES_MAX)?;
    let Document::Index(index) = parse("index.json", &bytes)? else {
        return Err(ImportError::UnknownForm);
    };
    // Entries of one name, or without any, are one image for several platforms.
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for entry in index.manifests {
        let annotation = |key| entry.annotations.as_ref()?.get(key).cloned();
        let name = annotation("io.containerd.image.name")
            .or_else(|| annotation("org.opencontainers.image.ref.name"));
        match groups.iter_mut().find(|group| group.0 == name) {
            Some(group) => group.1.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    let mut images: Vec<Named> = Vec::new();
    for (name, manifests) in groups {
        let descriptor = match manifests.as_slice() {
            [only] => only.clone(),
            _ => choose("index.json", &Index { manifests }, architecture)?,
        };
        let found = read_manifest(source, descriptor, architecture)?;
        match images
            .iter_mut()
            .find(|(_, other)| other.image.digest == found.image.digest)
        {
            Some((names, _)) => names.extend(name),
            None => images.push((name.into_iter().collect(), found)),
        }
    }
    // A lone image without a name takes the caller's; the check for that comes later.
    for (names, _) in &mut images {
        names.dedup();
    }
    Ok(images)
}

fn read_manifest(
    source: &Source,
    mut descriptor: Descriptor,
    architecture: &str,
) -> Result<Found, ImportError> {
    for _ in 0..INDEX_DEPTH_MAX {
        let (name, bytes) = blob(source, &descriptor)?;
        match parse(&name, &bytes)? {
            Document::Index(index) => descriptor = choose(&name, &index, architecture)?,
            Document::Manifest(manifest) => {
                let (config_name, config) = blob(source, &manifest.config)?;
                let layers = manifest
                    .layers
                    .iter()
                    .map(|layer| sized_blob(source, layer))
                    .collect::<Result<_, _>>()?;
                let image = Image::new(descriptor.digest, manifest, &config)
                    .map_err(document_error(&config_name))?;
                return Ok(Found {
                    names: Vec::new(),
                    manifest: bytes,
                    config,
                    image,
                    layers,
                });
            }
        }
    }
    Err(ImportError::TooDeep(INDEX_DEPTH_MAX))
}

/// Reads what `docker save` wrote. It has no manifest in the OCI sense, so one is made: same archive, same digest.
fn read_saved(source: &Source) -> Result<Vec<Named>, ImportError> {
    let bytes = source.document("manifest.json", DOCUMENT_BYTES_MAX)?;
    let saved: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(InvalidManifest::Json)
        .map_err(document_error("manifest.json"))?;
    let mut images = Vec::new();
    for saved in saved {
        let config = source.document(&saved.config, DOCUMENT_BYTES_MAX)?;
        let descriptor = |media_type: &str, digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
        };
        let diff_ids = serde_json::from_slice::<crate::image_config::ConfigBlob>(&config)
            .map_err(InvalidManifest::Json)
            .map_err(document_error(&saved.config))?
            .rootfs
            .diff_ids;
        let sizes = saved
            .layers
            .iter()
            .map(|layer| Ok(source.piece(layer)?.1))
            .collect::<Result<Vec<u64>, SourceError>>()?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: descriptor(OCI_CONFIG, digest_of(&config), config.len() as u64),
            layers: diff_ids
                .into_iter()
                .zip(&sizes)
                .map(|(diff_id, size)| descriptor(OCI_LAYER, diff_id, *size))
                .collect(),
        };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain data");
        if manifest.layers.len() != saved.layers.len() {
            return Err(document_error(&saved.config)(InvalidManifest::LayerCount {
                layers: saved.layers.len(),
                diff_ids: manifest.layers.len(),
            }));
        }
        // Through the same door as a foreign manifest, for its limits.
        let Document::Manifest(manifest) = parse("manifest.json", &bytes)? else {
            return Err(ImportError::UnknownForm);
        };
        let image = Image::new(digest_of(&bytes), manifest, &config)
            .map_err(document_error(&saved.config))?;
        let found = Found {
            names: Vec::new(),
            manifest: bytes,
            config,
            image,
            layers: saved.layers,
        };
        images.push((saved.repo_tags.unwrap_or_default(), found));
    }
    Ok(images)
}

fn choose(name: &str, index: &Index, architecture: &str) -> Result<Descriptor, ImportError> {
    let chosen = index.for_platform(architecture);
    chosen.cloned().map_err(document_error(name))
}

fn parse(name: &str, bytes: &[u8]) -> Result<Document, ImportError> {
    Document::parse(bytes).map_err(document_error(name))
}

fn document_error(name: &str) -> impl FnOnce(InvalidManifest) -> ImportError {
    let name = name.to_owned();
    move |source| ImportError::Document { name, source }
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A small blob, checked against the digest it goes by.
fn blob(source: &Source, descriptor: &Descriptor) -> Result<(String, Vec<u8>), ImportError> {
    let name = blob_name(descriptor.digest);
    let bytes = source.document(&name, DOCUMENT_BYTES_MAX)?;
    let found = digest_of(&bytes);
    if found != descriptor.digest {
        return Err(ImportError::Digest { name, found });
    }
    Ok((name, bytes))
}

/// The name of a large blob that is there and as long as stated; its content is checked while it is unpacked.
fn sized_blob(source: &Source, descriptor: &Descriptor) -> Result<String, ImportError> {
    let name = blob_name(descriptor.digest);
    let (_, found) = source.piece(&name)?;
    if found != descriptor.size {
        return Err(ImportError::Size {
            name,
            stated: descriptor.size,
            found,
        });
    }
    Ok(name)
}

/// What [`Source::piece`] gives: a piece of a file.
pub(crate) struct Piece {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Removes the decompressed copy of an archive when the import is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
