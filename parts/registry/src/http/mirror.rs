//! Images of other registries, as a mirror shows them: `mirror/<registry>/<repository>`, or, as container engines ask a
//! mirror, `<repository>` with the parameter `ns=<registry>` or below `library`.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use mayfly_runtime::report;
use mayfly_types::{Digest, ImageRef};
use tracing::{info, warn};

use super::Desk;
use super::door::Visitor;
use super::path::Page;
use super::query::Query;
use crate::collect::is_older;
use crate::document::stated_size;
use crate::manifests::{Content, Reference};
use crate::name::{MIRROR, Owner, Repository};
use crate::store::Shared;
use crate::{OriginError, OriginManifest, RegistryError, RepositoryName};

/// Where names without a registry are from.
const DOCKER_HUB: &str = "docker.io";
/// Docker Hub's own images; no app is called so.
const OFFICIAL: &str = "library";

impl Desk {
    /// The name in the mirror that a request means, if it means one.
    pub(super) fn mirrored(&self, name: &RepositoryName, query: &Query) -> Option<RepositoryName> {
        let registry = match query.get("ns") {
            Some(registry) if self.origins.mirrors(registry) => registry,
            _ if name.app().as_str() == MIRROR => return Some(name.clone()),
            _ if name.app().as_str() == OFFICIAL && self.origins.mirrors(DOCKER_HUB) => DOCKER_HUB,
            _ => return None,
        };
        format!("{MIRROR}/{registry}/{name}").parse().ok()
    }

    pub(super) async fn serve_mirrored(
        &self,
        parts: &Parts,
        visitor: &Visitor,
        name: RepositoryName,
        page: Page,
        query: &Query,
    ) -> Result<Response, RegistryError> {
        let unknown = || RegistryError::UnknownName(name.to_string());
        let (registry, repository) = name.mirrored().ok_or_else(unknown)?;
        if !self.origins.mirrors(registry) {
            return Err(unknown());
        }
        let method = &parts.method;
        if !method.is_safe() {
            return Err(RegistryError::Mirror(registry.to_owned()));
        }
        let image = format!("{registry}/{repository}");
        let here = Repository {
            owner: Owner::Mirror,
            name: name.clone(),
        };
        match page {
            Page::Tags => self.tags(method, &here, query).await,
            Page::Referrers(subject) => self.referrers(method, &here, subject, query).await,
            Page::Manifest(reference) => {
                self.bring_manifest(&image, &here, &reference).await?;
                self.manifest(parts, &here, visitor, reference, Body::empty())
                    .await
            }
            Page::Blob(digest) => {
                self.bring_blob(&image, &here, digest).await?;
                self.blob(parts, &here, digest).await
            }
            Page::Uploads | Page::Upload(_) => Err(RegistryError::Mirror(registry.to_owned())),
        }
    }

    /// Makes a manifest local, as new as it has to be. An origin that is away is done without, if an earlier answer is
    /// known.
    async fn bring_manifest(
        &self,
        image: &str,
        here: &Repository,
        reference: &Reference,
    ) -> Result<(), RegistryError> {
        let image = match reference {
            Reference::Tag(tag) => format!("{image}:{tag}"),
            Reference::Digest(digest) => format!("{image}@{digest}"),
        };
        let image: ImageRef = image
            .parse()
            .map_err(|_| RegistryError::UnknownName(here.name.to_string()))?;
        if let Some(found) = self.origins.imported(&image).await {
            return self.keep_manifest(here, reference, found).await;
        }
        let (place, wanted) = (here.clone(), reference.clone());
        let known = self
            .registry
            .with(move |shared| Ok(shared.known(&place, &wanted)))
            .await?;
        if known == Known::Fresh {
            return Ok(());
        }
        match self.origins.manifest(&image).await {
            Ok(found) => self.keep_manifest(here, reference, found).await,
            Err(error @ OriginError::Away(_)) if known == Known::Stale => {
                warn!(%image, error = report(&error), "registry not reached; the mirror shows what it said before");
                Ok(())
            }
            Err(source) => Err(RegistryError::NotAtOrigin {
                image: image.to_string(),
                source,
            }),
        }
    }

    async fn keep_manifest(
        &self,
        here: &Repository,
        reference: &Reference,
        found: OriginManifest,
    ) -> Result<(), RegistryError> {
        let (here, reference) = (here.clone(), reference.clone());
        let keep = move |shared: &Shared| {
            let (kind, bytes) = (&found.media_type, &found.bytes);
            shared.put_manifest(&here, &reference, kind, bytes, Content::AtItsOrigin)
        };
        self.registry.with(keep).await.map(drop)
    }

    /// Makes a blob local that a manifest of the repository names. One request brings it; others wait for that.
    async fn bring_blob(
        &self,
        image: &str,
        here: &Repository,
        digest: Digest,
    ) -> Result<(), RegistryError> {
        let is_here = || {
            let place = here.clone();
            self.registry
                .with(move |shared| Ok(shared.find_blob(&place, digest).is_ok()))
        };
        if is_here().await? {
            return Ok(());
        }
        let fetch = self.registry.0.fetches.of(digest);
        let _fetch = fetch.lock().await;
        if is_here().await? {
            return Ok(());
        }
        let place = here.clone();
        let size = self
            .registry
            .with(move |shared| {
                if shared.link_of_mirror(&place, digest)? {
                    return Ok(None);
                }
                shared
                    .check_room()
                    .map_err(RegistryError::disk("bring a blob"))?;
                shared.size_in(&place, digest).map(Some)
            })
            .await?;
        let Some(size) = size else { return Ok(()) };
        let image: ImageRef = image
            .parse()
            .map_err(|_| RegistryError::UnknownName(here.name.to_string()))?;
        // Among the uploads, so that it is removed with those that nobody goes on with.
        let path = self.registry.0.layout.uploads().join(digest.hex());
        let brought = self.origins.blob(&image, digest, size, &path).await;
        brought.map_err(|source| RegistryError::NotAtOrigin {
            image: image.to_string(),
            source,
        })?;
        info!(%image, %digest, bytes = size, "the mirror has a blob");
        let place = here.clone();
        self.registry
            .with(move |shared| {
                let kept = shared.keep_file(&place, digest, &path);
                kept.and_then(|()| mayfly_content::remove(&path))
                    .map_err(RegistryError::disk("keep a blob"))?;
                Ok(())
            })
            .await
    }
}

/// What is known here of a manifest elsewhere.
#[derive(PartialEq)]
enum Known {
    Nothing,
    /// Its origin may say something else by now.
    Stale,
    Fresh,
}

impl Shared {
    fn known(&self, here: &Repository, reference: &Reference) -> Known {
        let Ok(record) = self.find_manifest(here, reference) else {
            return Known::Nothing;
        };
        // Used now, which keeps it.
        let _ = self.touch(here, record.digest);
        let fresh = match reference {
            Reference::Digest(_) => true,
            Reference::Tag(tag) => {
                let tag = self.layout.repository(here).tag(tag);
                !is_older(&tag, self.limits.mirror_fresh)
            }
        };
        if fresh { Known::Fresh } else { Known::Stale }
    }

    /// Takes a blob over from another repository of the mirror. Not from apps': who knows a digest may not read it by
    /// naming it in a manifest elsewhere.
    fn link_of_mirror(&self, here: &Repository, digest: Digest) -> Result<bool, RegistryError> {
        let names = mayfly_content::names_in(&self.layout.repositories())
            .map_err(RegistryError::disk("list repositories"))?;
        let others = names
            .iter()
            .filter_map(|name| Repository::from_file_name(name))
            .filter(|other| other.owner == Owner::Mirror);
        for other in others {
            if self.mount(&other, here, digest)? {
                return Ok(self.has_content(digest));
            }
        }
        Ok(false)
    }

    /// The size that a manifest of the repository states for a blob.
    fn size_in(&self, here: &Repository, digest: Digest) -> Result<u64, RegistryError> {
        for record in self.records(here)? {
            if record.needs.contains(&digest)
                && let Some(size) = stated_size(&self.manifest_bytes(&record)?, digest)
            {
                return Ok(size);
            }
        }
        Err(RegistryError::UnknownBlob(digest))
    }
}
