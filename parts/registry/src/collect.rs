//! Making room: what no manifest needs goes, and manifests that nobody can find by a name.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mayfly_content::{digests_in, names_in, remove};
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use mayfly_types::Digest;
use std::sync::Arc;

use crate::document::Record;
use crate::name::{Owner, Repository};
use crate::store::{Registry, Shared};
use crate::{Access, Needed, RegistryError};

/// Removes what has no use any more, every now and then.
pub struct Collector {
    pub registry: Registry,
    pub access: Arc<dyn Access>,
    pub period: Duration,
    /// For this long after its last use a blob waits for the manifest that needs it, and an upload for its next byte.
    pub blobs_kept: Duration,
    /// For this long a manifest is kept that no tag, index or machine names.
    pub untagged_kept: Duration,
    /// For this long after its last use a mirrored image is kept.
    pub mirrored_kept: Duration,
    pub status: LoopHandle,
}

/// What one turn removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub manifests: u64,
    pub blobs: u64,
    pub uploads: u64,
    pub freed_bytes: u64,
}

impl Collector {
    /// Collects until told to stop.
    pub async fn run(self, stop: Stop) {
        while stop
            .run_until_cancelled(tokio::time::sleep(self.period))
            .await
            .is_some()
        {
            let began = tokio::time::Instant::now();
            let result = self.collect().await;
            self.status.publish(LoopStatus {
                ran_at: Some(self.registry.0.clock.now()),
                took: began.elapsed(),
                applied: result.as_ref().map_or(0, Collected::count),
                waiting: 0,
                last_error: result.err().map(|error| report(&error)),
            });
        }
    }

    /// One turn.
    pub async fn collect(&self) -> Result<Collected, RegistryError> {
        // Asked first: what is named later was pushed or found here later, and is younger than what goes.
        let needed = self.access.needed().await?;
        let kept = Kept {
            blobs: self.blobs_kept,
            untagged: self.untagged_kept,
            mirrored: self.mirrored_kept,
        };
        let turn = move |shared: &Shared| shared.collect(&needed, kept);
        self.registry.with(turn).await
    }
}

/// For how long what is not needed stays.
#[derive(Clone, Copy)]
struct Kept {
    blobs: Duration,
    untagged: Duration,
    mirrored: Duration,
}

impl Collected {
    fn count(&self) -> u64 {
        self.manifests + self.blobs + self.uploads
    }
}

impl Shared {
    fn collect(&self, needed: &Needed, keep: Kept) -> Result<Collected, RegistryError> {
        let blobs_kept = keep.blobs;
        let failed = |error| RegistryError::disk("collect what has no use")(error);
        let mut collected = Collected::default();
        self.drop_uploads(blobs_kept, &mut collected)?;
        self.drop_left().map_err(failed)?;
        self.drop_sendings(blobs_kept).map_err(failed)?;
        let mut linked = BTreeSet::new();
        for file in names_in(&self.layout.repositories()).map_err(failed)? {
            let Some(repository) = Repository::from_file_name(&file) else {
                continue;
            };
            let _alone = self.removal.write().expect("no holder of this lock panics");
            let place = self.layout.repository(&repository);
            if let Owner::App(app) = repository.owner
                && !needed.apps.contains(&app)
            {
                let links = digests_in(&place.links()).map_err(failed)?;
                let in_use = links.iter().any(|digest| needed.images.contains(digest));
                if !in_use && is_older(place.root(), blobs_kept) {
                    fs::remove_dir_all(place.root()).map_err(failed)?;
                    continue;
                }
            }
            let records = self.records(&repository)?;
            let kept = self.kept(&repository, &records, needed, keep)?;
            let mut wanted = BTreeSet::new();
            for record in records {
                if kept.contains(&record.digest) {
                    wanted.insert(record.digest);
                    wanted.extend(record.needs);
                } else {
                    self.forget(&repository, &record).map_err(failed)?;
                    collected.manifests += 1;
                }
            }
            for digest in digests_in(&place.links()).map_err(failed)? {
                let link = place.link(digest);
                if wanted.contains(&digest) || !is_older(&link, blobs_kept) {
                    linked.insert(digest);
                } else {
                    remove(&link).map_err(failed)?;
                }
            }
        }
        self.drop_blobs(&linked, blobs_kept, &mut collected)?;
        Ok(collected)
    }

    pub(crate) fn records(&self, repository: &Repository) -> Result<Vec<Record>, RegistryError> {
        let manifests = self.layout.repository(repository).manifests();
        let digests = digests_in(&manifests).map_err(RegistryError::disk("list manifests"))?;
        let records = digests
            .into_iter()
            .map(|digest| self.record(repository, digest));
        records.collect()
    }

    /// Manifests with a name, in use, or young; what these consist of, and what speaks about these.
    fn kept(
        &self,
        repository: &Repository,
        records: &[Record],
        needed: &Needed,
        keep: Kept,
    ) -> Result<BTreeSet<Digest>, RegistryError> {
        let place = self.layout.repository(repository);
        let mut kept = BTreeSet::new();
        let nameless_kept = match repository.owner {
            Owner::Mirror => keep.mirrored,
            Owner::App(_) => {
                let tags = self
                    .tags_with_digests(repository)
                    .map_err(RegistryError::disk("list tags"))?;
                kept.extend(tags.into_iter().map(|(_, digest)| digest));
                keep.untagged
            }
        };
        for record in records {
            // The link's time is that of the last use, the record's that of the last push.
            let young = !is_older(&place.manifest(record.digest), nameless_kept)
                || !is_older(&place.link(record.digest), nameless_kept);
            if young || needed.images.contains(&record.digest) {
                kept.insert(record.digest);
            }
        }
        loop {
            let before = kept.len();
            for record in records {
                if kept.contains(&record.digest) {
                    kept.extend(record.needs.iter().copied());
                } else if record
                    .subject
                    .is_some_and(|subject| kept.contains(&subject))
                {
                    kept.insert(record.digest);
                }
            }
            if kept.len() == before {
                return Ok(kept);
            }
        }
    }

    fn drop_uploads(
        &self,
        kept_for: Duration,
        collected: &mut Collected,
    ) -> Result<(), RegistryError> {
        let directory = self.layout.uploads();
        let names = names_in(&directory).map_err(RegistryError::disk("list uploads"))?;
        for name in names.iter().filter(|name| !name.contains('.')) {
            let path = directory.join(name);
            let session = self.sessions().get(name).cloned();
            let busy = session.is_some_and(|session| session.try_lock().is_err());
            if !busy && is_older(&path, kept_for) {
                collected.freed_bytes += fs::metadata(&path).map_or(0, |found| found.len());
                self.end_upload(name)?;
                collected.uploads += 1;
            }
        }
        Ok(())
    }

    /// Removes the bytes that no repository has a link to.
    fn drop_blobs(
        &self,
        linked: &BTreeSet<Digest>,
        kept_for: Duration,
        collected: &mut Collected,
    ) -> Result<(), RegistryError> {
        let mut drop_all = || -> io::Result<()> {
            for digest in self.all_content()? {
                // Linked since the repositories were read: then it is as good as new.
                if linked.contains(&digest) || !is_older(&self.content_mark(digest), kept_for) {
                    continue;
                }
                let _alone = self.removal.write().expect("no holder of this lock panics");
                if self.is_linked(digest)? {
                    continue;
                }
                let bytes = self.content_length(digest).unwrap_or_default();
                if self.drop_content(digest)? {
                    collected.blobs += 1;
                    collected.freed_bytes += bytes;
                }
            }
            Ok(())
        };
        drop_all().map_err(RegistryError::disk("remove blobs"))
    }

    fn is_linked(&self, digest: Digest) -> io::Result<bool> {
        for file in names_in(&self.layout.repositories())? {
            if let Some(repository) = Repository::from_file_name(&file)
                && self.layout.repository(&repository).link(digest).exists()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a file was changed longer ago than this. File times are the kernel's, and compared with nothing else; what
/// is gone or from the future is young.
#[allow(clippy::disallowed_methods)]
pub(crate) fn is_older(path: &Path, age: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|found| found.modified());
    changed.is_ok_and(|changed| {
        SystemTime::now()
            .duration_since(changed)
            .is_ok_and(|since| since >= age)
    })
}
