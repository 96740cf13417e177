use mayfly_types::Digest;

use crate::RegistryError;
use crate::manifests::Reference;
use crate::name::{RepositoryName, is_tag};

/// A page of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: RepositoryName,
    pub(super) page: Page,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    Tags,
    Manifest(Reference),
    Referrers(Digest),
    Blob(Digest),
    Uploads,
    Upload(String),
}

impl Path {
    /// Reads a path below `/v2`; `None` is the entrance itself.
    pub(super) fn parse(path: &str) -> Result<Option<Path>, RegistryError> {
        let rest = path.strip_prefix("/v2").unwrap_or(path);
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Ok(None);
        }
        let unknown = || RegistryError::UnknownPath(path.chars().take(200).collect());
        let parts: Vec<&str> = rest.split('/').collect();
        // Names contain slashes and may contain the words of pages, so pages are read from the end.
        let (name, page) = match parts.as_slice() {
            [name @ .., "tags", "list"] => (name, Page::Tags),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                (name, Page::Uploads)
            }
            [name @ .., "blobs", "uploads", id] => (name, Page::Upload((*id).to_owned())),
            [name @ .., "blobs", digest] => (name, Page::Blob(parse_digest(digest)?)),
            [name @ .., "referrers", digest] => (name, Page::Referrers(parse_digest(digest)?)),
            [name @ .., "manifests", reference] => {
                (name, Page::Manifest(parse_reference(reference)?))
            }
            _ => return Err(unknown()),
        };
        let name = name
            .join("/")
            .parse()
            .map_err(|error: crate::InvalidName| RegistryError::InvalidName(error.to_string()))?;
        Ok(Some(Path { name, page }))
    }
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, RegistryError> {
    text.parse().map_err(|error: mayfly_types::InvalidDigest| {
        RegistryError::InvalidDigest(error.to_string())
    })
}

fn parse_reference(text: &str) -> Result<Reference, RegistryError> {
    if text.contains(':') {
        return Ok(Reference::Digest(parse_digest(text)?));
    }
    if is_tag(text) {
        Ok(Reference::Tag(text.to_owned()))
    } else {
        Err(RegistryError::InvalidManifest(
            "a tag has 1 to 128 of a-z, A-Z, 0-9, ., _ and -".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_from_the_end() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (path, name, page) in [
            ("/v2/a/tags/list", "a", Page::Tags),
            ("/v2/a/tags/list/tags/list", "a/tags/list", Page::Tags),
            ("/v2/a/b/blobs/uploads/", "a/b", Page::Uploads),
            ("/v2/a/blobs/uploads", "a", Page::Uploads),
            ("/v2/a/blobs/uploads/1f", "a", Page::Upload("1f".to_owned())),
            (
                "/v2/a/manifests/v1",
                "a",
                Page::Manifest(Reference::Tag("v1".to_owned())),
            ),
            (
                &format!("/v2/blobs/blobs/{digest}"),
                "blobs",
                Page::Blob(digest.parse().unwrap()),
            ),
        ] {
            let found = Path::parse(path).unwrap().unwrap();
            assert_eq!(
                (found.name.to_string().as_str(), &found.page),
                (name, &page)
            );
        }
        for entrance in ["/v2", "/v2/"] {
            assert_eq!(Path::parse(entrance).unwrap(), None);
        }
        for wrong in [
            "/v2/a",
            "/v2/_catalog",
            "/v2/a/blobs/sha256:1",
            "/v2/../manifests/x",
            "/v2/A/manifests/x",
            "/v2/manifests/x",
            "/v2/a/manifests/..",
        ] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }
}
