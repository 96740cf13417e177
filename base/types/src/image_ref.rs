use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::text::serde_as_text;

/// Where an image comes from: registry, repository, and a tag or digest or both.
///
/// Short forms are completed as Docker does: `nginx` means `docker.io/library/nginx:latest`. Grammar: <https://github.com/distribution/reference>.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that does not name an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not name an image: {rule}")]
pub struct InvalidImageRef {
    pub text: String,
    pub rule: &'static str,
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

impl ImageRef {
    pub fn registry(&self) -> &str {
        &self.registry
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same image pinned to the content that was found for it.
    pub fn pinned(&self, digest: Digest) -> ImageRef {
        ImageRef {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
        && !text.contains("..")
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text
        .rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let host_holds = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    host_holds && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl FromStr for ImageRef {
    type Err = InvalidImageRef;

    fn from_str(text: &str) -> Result<Self, InvalidImageRef> {
        let invalid = |rule| InvalidImageRef {
            text: text.chars().take(200).collect(),
            rule,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| invalid("after @ comes sha256: and 64 hexadecimal digits"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(invalid("a tag has 1 to 128 of a-z, A-Z, 0-9, ., _ and -"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, repository)) if first == "localhost" || first.contains(['.', ':']) => {
                (first, repository.to_owned())
            }
            Some(_) => (DEFAULT_REGISTRY, path.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{path}")),
        };
        if !is_registry(registry) {
            return Err(invalid(
                "the part before the first / must be a host name with an optional port",
            ));
        }
        if path.is_empty() || repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(invalid(
                "a repository is made of a-z, 0-9, ., _ and - in parts divided by /",
            ));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(ImageRef {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

serde_as_text!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_completed() {
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("flyio/hellofly:v1", "docker.io/flyio/hellofly:v1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            (
                "registry.fly.io/my-app:deployment-01",
                "registry.fly.io/my-app:deployment-01",
            ),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), full);
            assert_eq!(full.parse::<ImageRef>().unwrap().to_string(), full);
        }
        let pinned = format!("a.b/c@sha256:{}", "ab".repeat(32));
        assert_eq!(pinned.parse::<ImageRef>().unwrap().to_string(), pinned);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "",
            "/",
            "A/b",
            "a//b",
            "a:..",
            "a@sha256:1",
            "../etc",
            "a.b/../c",
            "x:70000/y/z:t:u",
            "a b",
        ] {
            assert!(wrong.parse::<ImageRef>().is_err(), "{wrong}");
        }
    }
}
