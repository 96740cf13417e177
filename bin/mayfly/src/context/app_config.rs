//! The app's configuration in the working directory: `fly.toml`, `fly.json` or `fly.yaml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mayfly_appconfig::{AppConfig, Format, Reading, read};

use crate::failure::Failure;

/// A configuration file as it was read.
#[derive(Debug)]
pub(crate) struct LocalConfig {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) format: Format,
    pub(crate) reading: Reading,
}

impl LocalConfig {
    /// The configuration `named` (a file or a directory), else the one in `directory`; `None` if there is no file.
    ///
    /// # Errors
    /// The file that was named is missing, or the file cannot be read. What is wrong inside of it is no error here.
    pub(crate) fn find(directory: &Path, named: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let in_directory = |directory: &Path| {
            Format::FILES
                .into_iter()
                .map(|name| directory.join(name))
                .find(|path| path.is_file())
        };
        let path = match named {
            None => in_directory(directory),
            Some(path) if path.is_dir() => in_directory(path),
            Some(path) if path.is_file() => Some(path.to_owned()),
            Some(path) => {
                return Err(Failure::new(format!("there is no file {}", path.display()))
                    .remedy(
                        "--config takes the path of a fly.toml or of the directory it is in. Options of a program go \
                         behind `--`, as in `machine run busybox -- sh -c COMMAND`.",
                    )
                    .into());
            }
        };
        path.map(|path| Self::load(&path)).transpose()
    }

    fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        // `./fly.toml` is what the user calls fly.toml.
        let path = path.strip_prefix(".").unwrap_or(path).to_owned();
        let format = Format::of(&path.to_string_lossy());
        Ok(Self {
            reading: read(&text, format),
            path,
            text,
            format,
        })
    }

    /// The directory paths in the file start from.
    pub(crate) fn directory(&self) -> &Path {
        let parent = self.path.parent();
        parent
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    pub(crate) fn file(&self) -> String {
        self.path.display().to_string()
    }

    /// The app's name, also from a file with mistakes elsewhere; `None` if it names none.
    ///
    /// # Errors
    /// The file is broken, so that the name may be in the part that could not be read.
    pub(crate) fn app(&self) -> anyhow::Result<Option<String>> {
        let app = self
            .reading
            .config
            .app
            .clone()
            .filter(|app| !app.is_empty());
        let broken = self
            .reading
            .problems
            .iter()
            .find(|problem| problem.is_error());
        match (app, broken) {
            (None, Some(problem)) => Err(Failure::new(format!(
                "read the app name: {}",
                problem.in_file(&self.file())
            ))
            .into()),
            (app, _) => Ok(app),
        }
    }

    /// The configuration, if nothing keeps it from being used.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub(crate) fn valid(&self) -> anyhow::Result<&AppConfig> {
        let mistakes: Vec<String> = self
            .reading
            .problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| problem.in_file(&self.file()))
            .collect();
        if mistakes.is_empty() {
            return Ok(&self.reading.config);
        }
        Err(Failure::new(format!("{} cannot be used", self.file()))
            .remedy(mistakes.join("\n"))
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(directory: &Path, named: Option<&Path>) -> anyhow::Result<Option<String>> {
        LocalConfig::find(directory, named)?.map_or(Ok(None), |local| local.app())
    }

    #[test]
    fn every_format_names_its_app() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text, wanted) in [
            (
                "fly.toml",
                "# x\napp = 'web'\n[build]\nimage='a'",
                Some("web"),
            ),
            ("fly.toml", "[env]\napp = 'not-this'", None),
            ("fly.json", r#"{"app":"web"}"#, Some("web")),
            ("fly.yaml", "app: \"web\"\nenv:\n  app: other", Some("web")),
            ("staging.toml", "app = \"web-staging\"", Some("web-staging")),
            ("broken.toml", "app = 'web'\n[env\n", Some("web")),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(
                app(Path::new("."), Some(&path)).unwrap().as_deref(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn the_flag_beats_the_directory_and_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("fly.toml"), "app = 'here'").unwrap();
        fs::write(path("dev.toml"), "app = 'dev'").unwrap();
        let app = |named: Option<PathBuf>| app(directory.path(), named.as_deref());
        assert_eq!(app(None).unwrap().as_deref(), Some("here"));
        assert_eq!(app(Some(path("dev.toml"))).unwrap().as_deref(), Some("dev"));
        let whole = directory.path().to_owned();
        assert_eq!(app(Some(whole)).unwrap().as_deref(), Some("here"));
        assert!(app(Some(path("none.toml"))).is_err());
        fs::write(path("fly.toml"), "app = ").unwrap();
        assert!(format!("{:#}", app(None).unwrap_err()).contains("fly.toml"));
    }
}
