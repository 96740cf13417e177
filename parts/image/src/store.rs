use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use mayfly_content::digest_from_name;
use mayfly_host_api::{ImageInfo, RegistryLogin};
use mayfly_net::{ClientConfig, HttpClient};
use mayfly_runtime::{Stop, TaskSet};
use mayfly_types::{Digest, ImageRef};
use tokio::sync::Semaphore;

use crate::blobs::{Layout, PARTIAL};
use crate::index::{Image, Index, Named, Origin};
use crate::layer::LayerLocks;
use crate::pin::Pin;
use crate::prune::remove_counting;
use crate::pull::Pull;
use crate::{ImageConfig, ImageError, ImagePeers, Pinned, Pruning, StoreConfig};

/// The images of one host. Clones share the store; one process at a time may have a directory open.
#[derive(Clone)]
pub struct ImageStore(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) layout: Layout,
    state: Mutex<State>,
    /// Held while blobs and the index change together.
    pub(crate) writer: Arc<tokio::sync::Mutex<IndexWriter>>,
    pub(crate) unpacks: Arc<Semaphore>,
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) client: HttpClient,
    pub(crate) peers: OnceLock<Arc<dyn ImagePeers>>,
    pub(crate) stop: Stop,
    pub(crate) tasks: TaskSet,
}

/// A pull ends between two pieces of a body or two entries of a layer.
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(10);

/// The right to change the index.
pub(crate) struct IndexWriter;

/// What is known in memory; the disk is changed first, then this.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) images: HashMap<Digest, Arc<Image>>,
    /// Diff ids of unpacked layers.
    pub(crate) layers: HashSet<Digest>,
    pub(crate) pins: HashMap<Digest, usize>,
    /// Images pinned since a prune began.
    pub(crate) touched: Option<HashSet<Digest>>,
    /// Blobs being downloaded.
    pub(crate) transfers: HashSet<Digest>,
    /// Layers needed by images that are not recorded yet.
    pub(crate) claims: HashMap<Digest, usize>,
    /// By diff id, while a layer is unpacked.
    pub(crate) locks: LayerLocks,
    /// By digest, while a blob is fetched.
    pub(crate) blob_locks: LayerLocks,
    pub(crate) pulls: BTreeMap<Digest, Arc<Pull>>,
    /// Logins that found an image whose layers are not here yet.
    pub(crate) logins: HashMap<Digest, RegistryLogin>,
}

impl ImageStore {
    /// Opens the store in `directory`, making it if needed, and removes what an earlier process left unfinished.
    pub async fn open(directory: &Path, config: StoreConfig) -> Result<ImageStore, ImageError> {
        let directory = directory.to_owned();
        tokio::task::spawn_blocking(move || {
            let layout =
                Layout::create(&directory).map_err(ImageError::disk("create", &directory))?;
            sweep(layout.staging(), |path| {
                path.extension()
                    .is_some_and(|extension| extension == PARTIAL)
            })?;
            let state = load(&layout)?;
            let stop = Stop::new();
            Ok(ImageStore(Arc::new(Shared {
                unpacks: Arc::new(Semaphore::new(config.unpacks_max.max(1))),
                downloads: Arc::new(Semaphore::new(config.downloads_max.max(1))),
                client: HttpClient::new(ClientConfig {
                    ca_file: config.ca_file.clone(),
                    ..ClientConfig::default()
                }),
                peers: OnceLock::new(),
                tasks: TaskSet::under(&stop),
                stop,
                config,
                layout,
                state: Mutex::new(state),
                writer: Arc::new(tokio::sync::Mutex::new(IndexWriter)),
            })))
        })
        .await
        .expect("opening does not panic")
    }

    /// Where the store is; names it among the stores of a fleet.
    pub fn directory(&self) -> &Path {
        self.0.layout.directory()
    }

    /// The directories of an image's layers for overlayfs, topmost first. All of them exist.
    ///
    /// A layer that an image lists twice appears once, at its highest place: overlayfs refuses repetitions.
    pub fn layers(&self, image: Digest) -> Result<Vec<PathBuf>, ImageError> {
        let state = self.0.state();
        let image = state.image(image)?;
        let mut seen = BTreeSet::new();
        let mut paths = Vec::with_capacity(image.layers.len());
        for layer in image.layers.iter().rev() {
            if !state.layers.contains(&layer.diff_id) {
                return Err(ImageError::NotReady {
                    image: image.digest,
                    layer: layer.diff_id,
                });
            }
            if seen.insert(layer.diff_id) {
                paths.push(self.0.layout.layer(layer.diff_id));
            }
        }
        Ok(paths)
    }

    /// How an image wants to be run.
    pub fn config(&self, image: Digest) -> Result<ImageConfig, ImageError> {
        Ok(self.0.state().image(image)?.config.clone())
    }

    /// What is known of an image; `used_by` is the caller's to fill in.
    pub fn info(&self, image: Digest) -> Result<ImageInfo, ImageError> {
        let state = self.0.state();
        let found = state.image(image)?;
        Ok(state.info_of(found))
    }

    /// All images under all their names, ordered by name. An image whose name went to a newer one is listed under its
    /// last name.
    pub fn list(&self) -> Vec<ImageInfo> {
        let state = self.0.state();
        let named = state.index.names.iter();
        let mut list: Vec<ImageInfo> = named
            .filter_map(|(name, named)| {
                let image = state.images.get(&named.digest)?;
                Some(ImageInfo {
                    image: name.pinned(named.digest),
                    ..state.info_of(image)
                })
            })
            .collect();
        let with_name: HashSet<Digest> = list.iter().map(|info| info.digest).collect();
        list.extend(
            state
                .images
                .values()
                .filter(|image| !with_name.contains(&image.digest))
                .map(|image| state.info_of(image)),
        );
        list.sort_by(|a, b| a.image.cmp(&b.image));
        list
    }

    /// Ends pulls and unpackings and waits for them; the next start goes on from what they brought.
    pub async fn shut_down(&self) {
        self.0.stop.cancel();
        self.0.tasks.shut_down(SHUT_DOWN_PATIENCE).await;
        // Each unpacking holds a permit until it has cleaned up.
        let all = u32::try_from(self.0.config.unpacks_max.max(1)).unwrap_or(u32::MAX);
        let ended = self.0.unpacks.acquire_many(all);
        let _ = tokio::time::timeout(SHUT_DOWN_PATIENCE, ended).await;
    }

    /// Begins to reclaim space: call it before reading which images are in use. See [`Pruning`].
    pub async fn begin_prune(&self) -> Pruning {
        let writer = self.0.writer.clone().lock_owned().await;
        self.0.state().touched = Some(HashSet::new());
        Pruning {
            shared: self.0.clone(),
            _writer: writer,
        }
    }

    /// Keeps an image that is here from being pruned.
    pub fn pin(&self, image: Digest) -> Result<Pinned, ImageError> {
        self.0.pin(image).ok_or(ImageError::UnknownDigest(image))
    }

    /// The image a name stands for by what is known here.
    pub(crate) fn find(&self, image: &ImageRef) -> Option<Pinned> {
        let digest = {
            let state = self.0.state();
            let named = state.index.names.get(image).map(|named| named.digest);
            named.or(image.digest())?
        };
        let mut pinned = self.0.pin(digest)?;
        pinned.info.image = image.pinned(digest);
        Some(pinned)
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn pin(self: &Arc<Self>, digest: Digest) -> Option<Pinned> {
        let mut state = self.state();
        let info = state.info_of(state.images.get(&digest)?);
        *state.pins.entry(digest).or_default() += 1;
        if let Some(touched) = &mut state.touched {
            touched.insert(digest);
        }
        Some(Pinned {
            info,
            _pin: Pin {
                shared: self.clone(),
                digest,
            },
        })
    }
}

impl Shared {
    /// Writes an image's documents and puts it into the index under `names`; returns it pinned, once for each name.
    pub(crate) async fn record(
        self: &Arc<Self>,
        image: Image,
        manifest: Vec<u8>,
        config: Vec<u8>,
        names: Vec<(ImageRef, Origin)>,
    ) -> Result<Vec<Pinned>, ImageError> {
        let writer = self.writer.clone().lock_owned().await;
        let shared = self.clone();
        tokio::task::spawn_blocking(move || {
            let _writer = writer;
            let layout = &shared.layout;
            let digest = image.digest;
            for (digest, bytes) in [(digest, manifest), (image.config_digest, config)] {
                let path = layout.blob(digest);
                layout
                    .write_durably(&path, &bytes)
                    .map_err(ImageError::disk("write", path))?;
            }
            let mut index = shared.state().index.clone();
            for (name, origin) in &names {
                let origin = *origin;
                index.names.insert(name.clone(), Named { digest, origin });
                index.images.insert(digest, name.clone());
            }
            if index != shared.state().index {
                index
                    .store(layout)
                    .map_err(ImageError::disk("write", layout.index()))?;
            }
            let mut state = shared.state();
            state.index = index;
            state.images.insert(digest, Arc::new(image));
            drop(state);
            Ok(names
                .into_iter()
                .filter_map(|(name, _)| {
                    let mut pinned = shared.pin(digest)?;
                    pinned.info.image = name.pinned(digest);
                    Some(pinned)
                })
                .collect())
        })
        .await
        .expect("recording does not panic")
    }
}

impl State {
    fn image(&self, digest: Digest) -> Result<&Arc<Image>, ImageError> {
        self.images
            .get(&digest)
            .ok_or(ImageError::UnknownDigest(digest))
    }

    /// Layers of recorded images, and of those about to be.
    pub(crate) fn needed_layers(&self) -> HashSet<Digest> {
        let images = self.images.values();
        images
            .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id))
            .chain(self.claims.keys().copied())
            .collect()
    }

    pub(crate) fn is_ready(&self, image: &Image) -> bool {
        image
            .layers
            .iter()
            .all(|layer| self.layers.contains(&layer.diff_id))
    }

    pub(crate) fn info_of(&self, image: &Image) -> ImageInfo {
        let name = self
            .index
            .images
            .get(&image.digest)
            .expect("images in memory are in the index");
        ImageInfo {
            image: name.pinned(image.digest),
            digest: image.digest,
            labels: image.config.labels.clone(),
            size_bytes: image.size_bytes(),
            layers: image.layers.len(),
            architecture: image.config.architecture.clone(),
            created_at: image.config.created_at,
            ready: self.is_ready(image),
            used_by: 0,
        }
    }
}

fn load(layout: &Layout) -> Result<State, ImageError> {
    let mut index = Index::load(layout).map_err(ImageError::disk("read", layout.index()))?;
    let digests: Vec<Digest> = index.images.keys().copied().collect();
    let mut images = HashMap::new();
    for digest in digests {
        match Image::load(layout, digest) {
            Some(image) => {
                images.insert(digest, Arc::new(image));
            }
            None => index.forget(digest),
        }
    }
    index
        .names
        .retain(|_, named| images.contains_key(&named.digest));
    let entries =
        fs::read_dir(layout.layers()).map_err(ImageError::disk("read", layout.layers()))?;
    let layers = entries
        .flatten()
        .filter_map(|entry| digest_from_name(&entry.file_name()))
        .collect();
    Ok(State {
        index,
        images,
        layers,
        ..State::default()
    })
}

/// Removes everything in `directory` that need not be kept.
fn sweep(directory: &Path, keep: impl Fn(&Path) -> bool) -> Result<(), ImageError> {
    let entries = fs::read_dir(directory).map_err(ImageError::disk("read", directory))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if !keep(&path) {
            remove_counting(&path);
        }
    }
    Ok(())
}
