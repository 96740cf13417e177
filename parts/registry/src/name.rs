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

/// A repository of an app that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) owner: AppId,
    pub(crate) name: RepositoryName,
}

impl Repository {
    pub(crate) fn file_name(&self) -> String {
        let name = self.name.text.replace('/', SLASH);
        format!("{}{DIVIDER}{name}", self.owner)
    }

    pub(crate) fn from_file_name(file: &str) -> Option<Self> {
        let (owner, name) = file.split_once(DIVIDER)?;
        Some(Self {
            owner: owner.parse().ok()?,
            name: name.replace(SLASH, "/").parse().ok()?,
        })
    }
}

impl RepositoryName {
    pub fn app(&self) -> &AppName {
        &self.app
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
            let repository = Repository {
                owner: AppId::from_random([7; 16]),
                name,
            };
            let file = repository.file_name();
            assert_eq!(Repository::from_file_name(&file).unwrap(), repository);
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
