use std::fs::{File, FileTimes};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use mayfly_content::{digests_in, names_in, remove};
use mayfly_types::Digest;

use crate::RegistryError;
use crate::document::Record;
use crate::name::{Owner, Repository};
use crate::store::Shared;

impl Shared {
    /// The length of a blob of the repository, which stays for a while.
    pub(crate) fn find_blob(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<u64, RegistryError> {
        let _stays = self.removal.read().expect("no holder of this lock panics");
        let found = self.touch(repository, digest);
        match found.and_then(|()| self.content_length(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(RegistryError::UnknownBlob(digest))
            }
            other => other.map_err(RegistryError::disk("read a blob")),
        }
    }

    /// Bytes of all blobs of an owner; what two of its repositories have counts once.
    pub(crate) fn used_by(&self, owner: Owner) -> io::Result<u64> {
        let mut digests = std::collections::BTreeSet::new();
        for file in names_in(&self.layout.repositories())? {
            if let Some(repository) = Repository::from_file_name(&file)
                && repository.owner == owner
            {
                digests.extend(digests_in(&self.layout.repository(&repository).links())?);
            }
        }
        let lengths = digests
            .into_iter()
            .map(|digest| self.content_length(digest));
        // What is being removed is not used.
        Ok(lengths.filter_map(Result::ok).sum())
    }

    /// Makes a blob of one repository one of another, too; false if the first has none.
    pub(crate) fn mount(
        &self,
        from: &Repository,
        to: &Repository,
        digest: Digest,
    ) -> Result<bool, RegistryError> {
        let _stays = self.removal.read().expect("no holder of this lock panics");
        match self.touch(from, digest) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(RegistryError::disk("read a blob")(error)),
        }
        self.link(to, digest)
            .map_err(RegistryError::disk("mount a blob"))?;
        Ok(true)
    }

    /// Takes a blob out of the repository. Its bytes go when nobody has use for them.
    pub(crate) fn delete_blob(
        &self,
        repository: &Repository,
        digest: Digest,
        needed: &std::collections::BTreeSet<Digest>,
    ) -> Result<(), RegistryError> {
        let _alone = self.removal.write().expect("no holder of this lock panics");
        for manifest in self.manifests_of(repository, needed)? {
            if manifest.needs.contains(&digest) || manifest.digest == digest {
                return Err(RegistryError::InUse(digest));
            }
        }
        let place = self.layout.repository(repository);
        let removed = remove(&place.link(digest)).map_err(RegistryError::disk("delete a blob"))?;
        if removed {
            Ok(())
        } else {
            Err(RegistryError::UnknownBlob(digest))
        }
    }

    /// Makes content one of the repository's blobs.
    pub(crate) fn link(&self, repository: &Repository, digest: Digest) -> io::Result<()> {
        let link = self.layout.repository(repository).link(digest);
        match touch(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.layout.write_durably(&link, b"")
            }
            other => other,
        }
    }

    /// Says that a blob is of use now; who is told that it is here may count on it for a while.
    pub(crate) fn touch(&self, repository: &Repository, digest: Digest) -> io::Result<()> {
        touch(&self.layout.repository(repository).link(digest))
    }

    /// The manifests of a repository that are among `wanted` or belong to indexes that are.
    pub(crate) fn manifests_of(
        &self,
        repository: &Repository,
        wanted: &std::collections::BTreeSet<Digest>,
    ) -> Result<Vec<Record>, RegistryError> {
        let mut found: Vec<Record> = Vec::new();
        let mut open: Vec<Digest> = wanted.iter().copied().collect();
        while let Some(digest) = open.pop() {
            if found.iter().any(|known| known.digest == digest) {
                continue;
            }
            match self.record(repository, digest) {
                Ok(record) => {
                    open.extend(record.needs.iter().copied());
                    found.push(record);
                }
                Err(RegistryError::UnknownManifest(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// File times are the kernel's, and compared with nothing else.
#[allow(clippy::disallowed_methods)]
fn touch(link: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(link)?;
    file.set_times(FileTimes::new().set_modified(SystemTime::now()))
}
