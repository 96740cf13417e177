//! Getting images from registries: what a name stands for, and the layers behind it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use mayfly_host_api::{ImageInfo, PullProgress, RegistryLogin};
use mayfly_runtime::report;
use mayfly_types::{Digest, ImageRef};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::index::{Image, ImageLayer, Origin};
use crate::layer::LayerSource;
use crate::registry::{Repository, Transfer};
use crate::store::{ImageStore, Shared};
use crate::{ImageError, Pinned, RegistryError};

/// One pull, shared by everybody who wants the image.
pub(crate) struct Pull {
    image: ImageRef,
    layers: usize,
    layers_done: AtomicUsize,
    bytes: u64,
    /// Compressed bytes that are here, by layer of the image.
    bytes_done: Vec<AtomicU64>,
    outcome: watch::Sender<Option<Outcome>>,
}

type Outcome = Result<(), Arc<ImageError>>;

/// Failed pulls that are remembered until they are tried again.
const FAILURES_MAX: usize = 64;

impl ImageStore {
    /// Finds what a name stands for now and makes its manifest and configuration local.
    ///
    /// A name with a digest that is here, and a name given to an import, is answered without asking anybody. For other
    /// names the registry is asked; if it does not answer and an earlier answer is known, that is used.
    pub async fn resolve(
        &self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
    ) -> Result<Pinned, ImageError> {
        let origin = self
            .0
            .state()
            .index
            .names
            .get(image)
            .map(|named| named.origin);
        if (image.digest().is_some() || origin == Some(Origin::Import))
            && let Some(pinned) = self.find(image)
        {
            return Ok(pinned);
        }
        if let Some(pinned) = self.0.fetch_from_peers(image).await? {
            return Ok(pinned);
        }
        match self.0.fetch_image(image, login).await {
            Err(error) if error.kind().is_transient() => match self.find(image) {
                Some(pinned) => {
                    warn!(%image, digest = %pinned.digest, error = %report(&error), "registry not reached; using what it said before");
                    Ok(pinned)
                }
                None => Err(error),
            },
            other => other,
        }
    }

    /// Like [`ImageStore::resolve`], and returns once all layers are unpacked. Concurrent calls share one pull.
    ///
    /// Without a `login`, the one that last resolved the image is used until its layers are here: who starts a machine
    /// later need not know it. It is kept in memory only.
    ///
    /// # Cancellation
    /// Dropping the future stops the waiting; layers that are being pulled go on.
    pub async fn ensure(
        &self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
    ) -> Result<Pinned, ImageError> {
        let mut pinned = self.resolve(image, login).await?;
        loop {
            if let Some(info) = self.ready(&pinned) {
                pinned.info = info;
                return Ok(pinned);
            }
            let (pull, share) = self.join(image, &pinned, login).await?;
            let outcome = pull.wait().await;
            match (outcome, share) {
                (Ok(()), _) => {}
                // Somebody else's login or registry may have been worse than ours.
                (Err(_), Share::Joined) => {}
                (Err(source), Share::Started) => {
                    return Err(ImageError::Pull {
                        image: Box::new(image.clone()),
                        source,
                    });
                }
            }
        }
    }

    /// Pulls under way, and those that failed and were not tried again.
    pub fn pulls(&self) -> Vec<PullProgress> {
        let state = self.0.state();
        state.pulls.values().map(|pull| pull.progress()).collect()
    }

    fn ready(&self, pinned: &Pinned) -> Option<ImageInfo> {
        let info = self.info(pinned.digest).ok()?;
        info.ready.then(|| ImageInfo {
            image: pinned.image.clone(),
            ..info
        })
    }

    /// The pull of this image that is under way, or a new one.
    async fn join(
        &self,
        image: &ImageRef,
        pinned: &Pinned,
        login: Option<&RegistryLogin>,
    ) -> Result<(Arc<Pull>, Share), ImageError> {
        let shared = self.0.clone();
        let digest = pinned.digest;
        let (found, pull, again, login) = {
            let mut state = shared.state();
            if let Some(pull) = state.pulls.get(&digest)
                && pull.outcome.borrow().is_none()
            {
                return Ok((pull.clone(), Share::Joined));
            }
            if shared.stop.is_cancelled() {
                return Err(ImageError::Stopping);
            }
            let found = state
                .images
                .get(&digest)
                .cloned()
                .ok_or(ImageError::UnknownDigest(digest))?;
            let pull = Arc::new(Pull::new(image.clone(), &found));
            state.pulls.insert(digest, pull.clone());
            let login = login.or(state.logins.get(&digest)).cloned();
            (found, pull, self.clone(), login)
        };
        // The task keeps the image, whatever becomes of the caller.
        let kept = again.pin(digest);
        let (task_pull, task_shared) = (pull.clone(), shared.clone());
        shared
            .tasks
            .spawn("image.pull", move |stop| async move {
                let work = task_shared.pull_layers(&found, &task_pull, login.as_ref());
                let outcome = tokio::select! {
                    () = stop.cancelled() => Err(ImageError::Stopping),
                    outcome = work => outcome,
                };
                task_shared.end_pull(digest, &task_pull, outcome);
                drop(kept);
            })
            .await;
        Ok((pull, Share::Started))
    }
}

enum Share {
    Started,
    Joined,
}

impl Shared {
    /// Asks the registry for the documents of an image and records them.
    async fn fetch_image(
        self: &Arc<Self>,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
    ) -> Result<Pinned, ImageError> {
        let failed = |source: RegistryError| ImageError::Resolve {
            image: Box::new(image.clone()),
            source: Box::new(source),
        };
        let repository = Repository::of(image, login, &self.client, &self.config);
        let fetched = repository.manifest(image).await.map_err(failed)?;
        let config = repository
            .small_blob(&fetched.manifest.config)
            .await
            .map_err(failed)?;
        let found = Image::new(fetched.digest, fetched.manifest, &config).map_err(|source| {
            ImageError::Manifest {
                image: Box::new(image.clone()),
                source,
            }
        })?;
        let names = vec![(image.clone(), Origin::Registry)];
        let digest = found.digest;
        let pinned = self.record(found, fetched.bytes, config, names).await?;
        let pinned = pinned.into_iter().next();
        let pinned = pinned.ok_or(ImageError::UnknownDigest(digest))?;
        if let Some(login) = login
            && !pinned.ready
        {
            self.state().logins.insert(digest, login.clone());
        }
        Ok(pinned)
    }

    async fn pull_layers(
        self: &Arc<Self>,
        image: &Image,
        pull: &Pull,
        login: Option<&RegistryLogin>,
    ) -> Result<(), ImageError> {
        let repository = Repository::of(&pull.image, login, &self.client, &self.config);
        let repository = &repository;
        // Some are fetched while others are unpacked; the semaphores bound each kind of work.
        let at_once = self.config.downloads_max + self.config.unpacks_max;
        let layers = image.layers.iter().enumerate();
        let work: Vec<_> = layers
            .map(|(place, layer)| self.pull_layer(repository, layer, place, pull))
            .collect();
        stream::iter(work)
            .buffer_unordered(at_once.max(1))
            .try_collect::<()>()
            .await
    }

    async fn pull_layer(
        self: &Arc<Self>,
        repository: &Repository<'_>,
        layer: &ImageLayer,
        place: usize,
        pull: &Pull,
    ) -> Result<(), ImageError> {
        let (diff_id, blob) = (layer.diff_id, &layer.blob);
        let lock = self.state().locks.lock_of(diff_id);
        let lock = lock.lock_owned().await;
        if !self.has_layer(diff_id) {
            // By digest too: another image may claim that the same blob unpacks to something else.
            let blob_lock = self.state().blob_locks.lock_of(blob.digest);
            let _blob_lock = blob_lock.lock_owned().await;
            let path = self.layout.partial(blob.digest);
            let _mark = TransferMark::new(self, blob.digest);
            {
                let _slot = self.downloads.acquire().await;
                let progress = |bytes| pull.bytes_done[place].store(bytes, Ordering::Relaxed);
                if !self.fetch_layer_from_peers(blob, &path, &progress).await {
                    let transfer = Transfer {
                        repository,
                        blob,
                        path: &path,
                        progress: &progress,
                    };
                    transfer.run().await.map_err(|source| ImageError::Fetch {
                        image: Box::new(pull.image.clone()),
                        layer: blob.digest,
                        source: Box::new(source),
                    })?;
                }
            }
            let bytes = blob.size;
            let opened = path.clone();
            let unpacked = self
                .unpack_layer(lock, pull.image.to_string(), diff_id, move || {
                    let blob = File::open(opened)?;
                    Ok(LayerSource { blob, bytes })
                })
                .await;
            // Unpacked or of no use: either way it is not needed again.
            let _ = std::fs::remove_file(&path);
            unpacked?;
        }
        pull.bytes_done[place].store(blob.size, Ordering::Relaxed);
        pull.layers_done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn end_pull(&self, digest: Digest, pull: &Pull, outcome: Result<(), ImageError>) {
        let outcome = outcome.map_err(Arc::new);
        let mut state = self.state();
        match &outcome {
            Ok(()) => {
                info!(image = %pull.image, %digest, bytes = pull.bytes, "image pulled");
                state.pulls.remove(&digest);
                state.logins.remove(&digest);
            }
            Err(error) => {
                warn!(image = %pull.image, %digest, error = %report(error.as_ref()), "pull failed");
                let failures = state.pulls.iter().filter(|(_, pull)| pull.has_ended());
                let failures: Vec<Digest> = failures.map(|(digest, _)| *digest).collect();
                if failures.len() >= FAILURES_MAX {
                    state.pulls.remove(&failures[0]);
                }
            }
        }
        drop(state);
        pull.outcome.send_replace(Some(outcome));
    }
}

impl Pull {
    fn new(image: ImageRef, found: &Image) -> Self {
        Self {
            image,
            layers: found.layers.len(),
            layers_done: AtomicUsize::new(0),
            bytes: found.size_bytes(),
            bytes_done: found.layers.iter().map(|_| AtomicU64::new(0)).collect(),
            outcome: watch::Sender::new(None),
        }
    }

    async fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        let ended = ended.expect("the sender is part of the pull");
        ended.clone().expect("waited for")
    }

    fn has_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    fn progress(&self) -> PullProgress {
        let bytes = self.bytes_done.iter();
        let error = match &*self.outcome.borrow() {
            Some(Err(error)) => Some(report(error.as_ref())),
            _ => None,
        };
        PullProgress {
            image: self.image.clone(),
            layers_done: self.layers_done.load(Ordering::Relaxed),
            layers: self.layers,
            bytes_done: bytes.map(|bytes| bytes.load(Ordering::Relaxed)).sum(),
            bytes: self.bytes,
            error,
        }
    }
}

/// Keeps a prune from taking the file of a transfer under way.
struct TransferMark<'a> {
    shared: &'a Shared,
    digest: Digest,
}

impl<'a> TransferMark<'a> {
    fn new(shared: &'a Shared, digest: Digest) -> Self {
        shared.state().transfers.insert(digest);
        Self { shared, digest }
    }
}

impl Drop for TransferMark<'_> {
    fn drop(&mut self) {
        self.shared.state().transfers.remove(&self.digest);
    }
}
