use std::collections::BTreeSet;
use std::fs;
use std::io;

use mayfly_content::{digest_of, digests_in, remove};
use mayfly_types::Digest;

use crate::RegistryError;
use crate::document::Record;
use crate::name::Repository;
use crate::store::Shared;

/// Whether what a manifest consists of must be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Here,
    /// It is brought when somebody asks for it.
    AtItsOrigin,
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Digest(Digest),
    Tag(String),
}

impl Shared {
    /// Stores a manifest whose content is here, and lets the tag stand for it.
    pub(crate) fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
        content: Content,
    ) -> Result<Record, RegistryError> {
        let found = digest_of(bytes);
        if let Reference::Digest(stated) = *reference
            && stated != found
        {
            return Err(RegistryError::OtherDigest { stated, found });
        }
        let record = Record::read(bytes, found, media_type)?;
        let _stays = self.removal.read().expect("no holder of this lock panics");
        let place = self.layout.repository(repository);
        let is_here = |need: &&Digest| place.link(**need).exists() && self.has_content(**need);
        if content == Content::Here
            && let Some(missing) = record.needs.iter().find(|need| !is_here(need))
        {
            return Err(RegistryError::MissingBlob(*missing));
        }
        let write = || {
            let blob = self.layout.blob(found);
            if !blob.exists() {
                self.layout.write_durably(&blob, bytes)?;
            }
            self.link(repository, found)?;
            if let Some(subject) = record.subject {
                let referrer = place.referrers(subject).join(found.hex());
                self.layout.write_durably(&referrer, b"")?;
            }
            let json = serde_json::to_vec(&record).expect("a record is plain data");
            self.layout.write_durably(&place.manifest(found), &json)?;
            if let Reference::Tag(tag) = reference {
                let text = found.to_string();
                self.layout
                    .write_durably(&place.tag(tag), text.as_bytes())?;
            }
            Ok(())
        };
        write().map_err(RegistryError::disk("write a manifest"))?;
        Ok(record)
    }

    pub(crate) fn find_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Record, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => self
                .tagged(repository, tag)?
                .ok_or_else(|| RegistryError::UnknownManifest(tag.clone()))?,
        };
        self.record(repository, digest)
    }

    /// The bytes of a manifest that was found.
    pub(crate) fn manifest_bytes(&self, record: &Record) -> Result<Vec<u8>, RegistryError> {
        fs::read(self.layout.blob(record.digest)).map_err(RegistryError::disk("read a manifest"))
    }

    /// A tag is taken away, or a manifest with all its tags.
    pub(crate) fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        needed: &BTreeSet<Digest>,
    ) -> Result<(), RegistryError> {
        let _alone = self.removal.write().expect("no holder of this lock panics");
        let failed = RegistryError::disk("delete a manifest");
        let place = self.layout.repository(repository);
        match reference {
            Reference::Tag(tag) => match remove(&place.tag(tag)) {
                Ok(true) => Ok(()),
                Ok(false) => Err(RegistryError::UnknownManifest(tag.clone())),
                Err(error) => Err(failed(error)),
            },
            Reference::Digest(digest) => {
                let record = self.record(repository, *digest)?;
                let mut in_use = self.manifests_of(repository, needed)?.into_iter();
                if in_use.any(|manifest| manifest.digest == *digest) {
                    return Err(RegistryError::InUse(*digest));
                }
                self.forget(repository, &record).map_err(failed)
            }
        }
    }

    /// Removes a manifest from its repository, its tags first.
    pub(crate) fn forget(&self, repository: &Repository, record: &Record) -> io::Result<()> {
        let place = self.layout.repository(repository);
        for (tag, digest) in self.tags_with_digests(repository)? {
            if digest == record.digest {
                remove(&place.tag(&tag))?;
            }
        }
        remove(&place.manifest(record.digest))?;
        if let Some(subject) = record.subject {
            remove(&place.referrers(subject).join(record.digest.hex()))?;
        }
        remove(&place.link(record.digest))?;
        Ok(())
    }

    /// The manifests whose subject is this one.
    pub(crate) fn referrers(
        &self,
        repository: &Repository,
        subject: Digest,
    ) -> Result<Vec<Record>, RegistryError> {
        let place = self.layout.repository(repository);
        let mut found =
            digests_in(&place.referrers(subject)).map_err(RegistryError::disk("list referrers"))?;
        found.sort();
        let records = found
            .into_iter()
            .map(|digest| self.record(repository, digest));
        let present =
            records.filter(|record| !matches!(record, Err(RegistryError::UnknownManifest(_))));
        present.collect()
    }

    pub(crate) fn record(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Record, RegistryError> {
        let path = self.layout.repository(repository).manifest(digest);
        match fs::read(path).and_then(|bytes| Record::from_json(&bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(RegistryError::UnknownManifest(digest.to_string()))
            }
            other => other.map_err(RegistryError::disk("read a manifest's record")),
        }
    }
}
