use std::fs;
use std::io;

use mayfly_content::names_in;
use mayfly_types::Digest;

use crate::RegistryError;
use crate::name::Repository;
use crate::store::Shared;

impl Shared {
    /// The tags of a repository after `last` in order, at most `count`, and whether there are more.
    pub(crate) fn tags(
        &self,
        repository: &Repository,
        last: Option<&str>,
        count: usize,
    ) -> Result<(Vec<String>, bool), RegistryError> {
        let place = self.layout.repository(repository);
        if !place.root().exists() {
            return Err(RegistryError::UnknownName(repository.name.to_string()));
        }
        let mut tags = names_in(&place.tags()).map_err(RegistryError::disk("list tags"))?;
        tags.sort();
        if let Some(last) = last {
            tags.retain(|tag| tag.as_str() > last);
        }
        let more = tags.len() > count;
        tags.truncate(count);
        Ok((tags, more))
    }

    /// What a tag stands for.
    pub(crate) fn tagged(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let path = self.layout.repository(repository).tag(tag);
        match fs::read_to_string(path) {
            Ok(text) => Ok(text.parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RegistryError::disk("read a tag")(error)),
        }
    }

    pub(crate) fn tags_with_digests(
        &self,
        repository: &Repository,
    ) -> io::Result<Vec<(String, Digest)>> {
        let place = self.layout.repository(repository);
        let mut all = Vec::new();
        for tag in names_in(&place.tags())? {
            if let Ok(digest) = fs::read_to_string(place.tag(&tag))?.parse() {
                all.push((tag, digest));
            }
        }
        Ok(all)
    }
}
