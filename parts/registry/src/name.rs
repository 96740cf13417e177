use std::fmt;
use std::str::FromStr;

use mayfly_types::{AppId, AppName};

/// A repository: the name of the app it belongs to, and optionally more parts divided by slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    text: String,
    app: AppName,
}

/// A text that does not name a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a repository is called like its app, optionally with more parts of a-z, 0-9, ., _ and - divided by /; \
     at most {LENGTH_MAX} bytes"
)]
pub struct InvalidName;

/// What fits into a file name together with an app's id.
const LENGTH_MAX: usize = 200;
/// In place of a slash; no name contains it.
const SLASH: &str = "+";
/// Between app and name; neither contains it.
const DIVIDER: char = '@';

/// The first part of names of mirrored repositories. No app is called so.
pub(crate) const MIRROR: &str = "mirror";

/// Whose a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    App(AppId),
    /// Another registry's, kept for as long as somebody asks for it.
    Mirror,
}

/// A repository of an app that exists, or of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) owner: Owner,
    pub(crate) name: RepositoryName,
}

impl Repository {
    pub(crate) fn file_name(&self) -> String {
        let name = self.name.text.replace('/', SLASH);
        match self.owner {
            Owner::App(app) => format!("{app}{DIVIDER}{name}"),
            Owner::Mirror => format!("{MIRROR}{DIVIDER}{name}"),
        }
    }

    pub(crate) fn from_file_name(file: &str) -> Option<Self> {
        let (owner, name) = file.split_once(DIVIDER)?;
        let owner = match owner {
            MIRROR => Owner::Mirror,
            app => Owner::App(app.parse().ok()?),
        };
        Some(Self {
            owner,
            name: name.replace(SLASH, "/").parse().ok()?,
        })
    }
}

impl RepositoryName {
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// The image of another registry that a mirrored name means: `mirror/<registry>/<repository>`.
    pub(crate) fn mirrored(&self) -> Option<(&str, &str)> {
        let rest = self.text.strip_prefix(MIRROR)?.strip_prefix('/')?;
        rest.split_once('/')
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (app, _) = text.split_once('/').unwrap_or((text, ""));
        if text.len() > LENGTH_MAX || !text.split('/').all(is_part) {
            return Err(InvalidName);
        }
        Ok(Self {
            text: text.to_owned(),
            app: app.parse().map_err(|_| InvalidName)?,
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    plain(*first)
        && plain(*last)
        && bytes
            .split(|byte| plain(*byte))
            .all(|between| matches!(between, b"" | b"." | b"_" | b"__") || is_dashes(between))
}

fn is_dashes(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == b'-')
}

/// A tag as the protocol allows it; such a text is a file name, too.
pub(crate) fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_an_app_and_round_trip_through_file_names() {
        for text in ["my-app", "my-app/cache", "a1/b__c/d.e-f--g"] {
            let name: RepositoryName = text.parse().unwrap();
            assert_eq!(name.app().as_str(), text.split('/').next().unwrap());
            for owner in [Owner::App(AppId::from_random([7; 16])), Owner::Mirror] {
                let name = name.clone();
                let repository = Repository { owner, name };
                let file = repository.file_name();
                assert_eq!(Repository::from_file_name(&file).unwrap(), repository);
            }
        }
    }

    #[test]
    fn mirrored_names_say_whose_they_are() {
        let mirrored = |text: &str| -> Option<(String, String)> {
            let name: RepositoryName = text.parse().unwrap();
            let (registry, repository) = name.mirrored()?;
            Some((registry.to_owned(), repository.to_owned()))
        };
        let expected = ("docker.io".to_owned(), "library/node".to_owned());
        assert_eq!(mirrored("mirror/docker.io/library/node"), Some(expected));
        for plain in [
            "mirror",
            "mirror/docker.io",
            "mirrors/docker.io/node",
            "web/mirror/a",
        ] {
            assert_eq!(mirrored(plain), None, "{plain}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        for wrong in [
            "", "/", "a/", "/a", "..", "a/..", "a/../b", "a//b", "A", "a/B", "a/.b", "a/b.",
            "a/b...c", "a+b", "a b", "a/b\0",
        ] {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
        for wrong in ["", ".", "..", "a/b", "-a", "a b", "ä"] {
            assert!(!is_tag(wrong), "{wrong}");
        }
    }
}
