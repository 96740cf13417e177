use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mayfly_appconfig::Build;
use mayfly_launch::{ContextRules, dockerignore_of_gitignores};

use super::flags::BuildFlags;
use crate::failure::Failure;
use crate::sources::read_sources;

const DOCKERFILES: [&str; 2] = ["Dockerfile", "dockerfile"];
const IGNORE: &str = ".dockerignore";

/// A directory with the Dockerfile to build it by.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) directory: PathBuf,
    pub(super) dockerfile: PathBuf,
    /// What says which files to leave out, if there is something.
    pub(super) ignorefile: Option<PathBuf>,
}

impl Sources {
    /// The Dockerfile that a flag names, then the configuration, then the one in the directory. What a flag names is looked
    /// for from where the user is, what the configuration names from where that is.
    pub(super) fn find(
        flags: &BuildFlags,
        section: &Build,
        directory: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let configured = section.dockerfile.as_deref();
        if configured.is_some_and(|path| path.contains("://")) && flags.dockerfile.is_none() {
            return Err(
                Failure::new("build.dockerfile: a Dockerfile on the web is not fetched")
                    .remedy("Put it beside the configuration and name it by its path.")
                    .into(),
            );
        }
        let named = flags
            .dockerfile
            .clone()
            .or_else(|| configured.map(|path| directory.join(path)));
        let usual = || {
            let mut usual = DOCKERFILES.iter().map(|name| directory.join(name));
            usual.find(|path| path.is_file())
        };
        let dockerfile = match named {
            Some(path) if path.is_file() => path,
            Some(path) => {
                return Err(
                    Failure::new(format!("there is no Dockerfile {}", path.display())).into(),
                );
            }
            None => match usual() {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        let named = flags.ignorefile.clone().or_else(|| {
            section
                .ignorefile
                .as_deref()
                .map(|path| directory.join(path))
        });
        let ignorefile = match named {
            Some(path) if path.is_file() => Some(path),
            Some(path) => {
                return Err(
                    Failure::new(format!("there is no ignore file {}", path.display())).into(),
                );
            }
            None => {
                let mut own = dockerfile.clone().into_os_string();
                own.push(IGNORE);
                let mut usual = [PathBuf::from(own), directory.join(IGNORE)].into_iter();
                usual.find(|path| path.is_file())
            }
        };
        Ok(Some(Self {
            directory: directory.to_owned(),
            dockerfile,
            ignorefile,
        }))
    }

    pub(super) fn dockerfile_text(&self) -> anyhow::Result<String> {
        let path = &self.dockerfile;
        fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    }

    pub(super) fn rules(&self) -> anyhow::Result<ContextRules> {
        let Some(path) = &self.ignorefile else {
            return Ok(ContextRules::default());
        };
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        ContextRules::read(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())).into())
    }

    pub(super) fn shown(&self) -> String {
        let path = self
            .dockerfile
            .strip_prefix(".")
            .unwrap_or(&self.dockerfile);
        path.display().to_string()
    }
}

/// Writes a `.dockerignore` with the rules of all `.gitignore` files, unless there is one or there are none; returns its path.
pub(super) fn write_dockerignore(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let path = directory.join(IGNORE);
    if path.exists() {
        return Ok(None);
    }
    let Some(text) = dockerignore_of_gitignores(&read_sources(directory)) else {
        return Ok(None);
    };
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_and_what_it_leaves_out_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let found = |flags: &BuildFlags, section: &Build| {
            let sources = Sources::find(flags, section, directory.path())?;
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            anyhow::Ok(sources.map(|sources| {
                let ignore = sources.ignorefile.as_deref().map(name).unwrap_or_default();
                format!("{} {ignore}", name(&sources.dockerfile))
            }))
        };
        let (flags, section) = (BuildFlags::default(), Build::default());
        assert_eq!(found(&flags, &section).unwrap(), None);
        fs::write(at("Dockerfile"), "FROM scratch").unwrap();
        assert_eq!(found(&flags, &section).unwrap().unwrap(), "Dockerfile ");
        fs::write(at(".dockerignore"), "a").unwrap();
        fs::write(at("Dockerfile.prod"), "FROM scratch").unwrap();
        fs::write(at("Dockerfile.prod.dockerignore"), "b").unwrap();
        assert_eq!(
            found(&flags, &section).unwrap().unwrap(),
            "Dockerfile .dockerignore"
        );
        let prod = Build {
            dockerfile: Some("Dockerfile.prod".into()),
            ..Build::default()
        };
        assert_eq!(
            found(&flags, &prod).unwrap().unwrap(),
            "Dockerfile.prod Dockerfile.prod.dockerignore"
        );
        let other = BuildFlags {
            dockerfile: Some(at("Dockerfile")),
            ignorefile: Some(at("Dockerfile.prod.dockerignore")),
            ..BuildFlags::default()
        };
        assert_eq!(
            found(&other, &prod).unwrap().unwrap(),
            "Dockerfile Dockerfile.prod.dockerignore"
        );
        for wrong in ["https://example.com/Dockerfile", "nowhere"] {
            let section = Build {
                dockerfile: Some(wrong.into()),
                ..Build::default()
            };
            assert!(found(&flags, &section).is_err());
        }
    }
}
