use std::fmt;
use std::str::FromStr;

use mayfly_types::{Digest, ImageRef};

const DIGEST: &str = "sha256:";

/// Images by repository, by the beginning of their digest, or both: `registry.fly.io/my-app`, `sha256:3b1c…`,
/// `ghcr.io/acme@sha256:3b1c…`. A repository stands for those below it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePattern {
    /// Registry and repository, in full.
    repository: Option<String>,
    /// Hexadecimal digits.
    digest: Option<String>,
}

/// A text that is no pattern of images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` says nothing about images: {rule}")]
pub struct InvalidImagePattern {
    text: String,
    rule: &'static str,
}

/// An image that somebody puts into the registry or has machines run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// Registry and repository, under every name that the registry has. The first is told to people.
    pub repositories: Vec<String>,
    pub digest: Option<Digest>,
}

impl ImagePattern {
    pub(crate) fn covers(&self, image: &NamedImage) -> bool {
        let is_below = |repository: &String, above: &String| {
            let rest = repository.strip_prefix(above.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let repository = self.repository.as_ref().is_none_or(|above| {
            let mut all = image.repositories.iter();
            all.any(|repository| is_below(repository, above))
        });
        let digest = self.digest.as_ref().is_none_or(|digits| {
            image
                .digest
                .is_some_and(|digest| digest.hex().starts_with(digits))
        });
        repository && digest
    }
}

impl FromStr for ImagePattern {
    type Err = InvalidImagePattern;

    fn from_str(text: &str) -> Result<Self, InvalidImagePattern> {
        let invalid = |rule| InvalidImagePattern {
            text: text.chars().take(200).collect(),
            rule,
        };
        let (repository, digest) = match text.split_once('@') {
            Some((repository, digest)) => (Some(repository), Some(digest)),
            None if text.starts_with(DIGEST) => (None, Some(text)),
            None => (Some(text), None),
        };
        let digits = |digest: &str| {
            let digits = digest.strip_prefix(DIGEST)?;
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let holds = (1..=64).contains(&digits.len()) && digits.bytes().all(is_digit);
            holds.then(|| digits.to_owned())
        };
        let digest = match digest {
            None => None,
            Some(digest) => Some(digits(digest).ok_or_else(|| {
                invalid("a digest begins with sha256: and has 1 to 64 of 0-9 and a-f")
            })?),
        };
        let repository = match repository {
            None => None,
            Some(repository) => {
                let after = repository.rsplit('/').next().unwrap_or(repository);
                if after.contains(':') {
                    return Err(invalid(
                        "a tag may stand for anything: name a repository, a digest or both",
                    ));
                }
                let image: ImageRef = repository
                    .parse()
                    .map_err(|_| invalid("a repository is named as images are, without a tag"))?;
                Some(format!("{}/{}", image.registry(), image.repository()))
            }
        };
        Ok(Self { repository, digest })
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.repository, &self.digest) {
            (Some(repository), Some(digits)) => write!(f, "{repository}@{DIGEST}{digits}"),
            (Some(repository), None) => f.write_str(repository),
            (None, digits) => write!(f, "{DIGEST}{}", digits.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Display for NamedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.repositories.first().map_or("unnamed", String::as_str))?;
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}
