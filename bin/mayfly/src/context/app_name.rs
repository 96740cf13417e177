//! The app name in the working directory's configuration: `fly.toml`, `fly.json` or `fly.yaml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::failure::Failure;

const FILES: [&str; 4] = ["fly.toml", "fly.json", "fly.yaml", "fly.yml"];

/// The `app` of the configuration `--config` names (a file or a directory), else of the one in `directory`.
///
/// `None` if there is no file, or it names no app.
///
/// # Errors
/// The file named by `--config` is missing, or a file cannot be read or is not of its format.
pub(crate) fn configured_app(
    directory: &Path,
    config: Option<&Path>,
) -> anyhow::Result<Option<String>> {
    let Some(path) = find(directory, config)? else {
        return Ok(None);
    };
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    app_in(&path, &text).with_context(|| format!("read the app name in {}", path.display()))
}

fn find(directory: &Path, config: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let in_directory = |directory: &Path| {
        FILES
            .into_iter()
            .map(|name| directory.join(name))
            .find(|path| path.is_file())
    };
    match config {
        None => Ok(in_directory(directory)),
        Some(path) if path.is_dir() => Ok(in_directory(path)),
        Some(path) if path.is_file() => Ok(Some(path.to_owned())),
        Some(path) => Err(Failure::new(format!("there is no file {}", path.display()))
            .remedy("--config takes the path of a fly.toml or of the directory it is in.")
            .into()),
    }
}

fn app_in(path: &Path, text: &str) -> anyhow::Result<Option<String>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let app = match extension {
        Some("json") => serde_json::from_str::<serde_json::Value>(text)?
            .get("app")
            .and_then(|app| app.as_str())
            .map(str::to_owned),
        Some("yaml" | "yml") => super::config_file::ConfigFile::parse(text).get("app"),
        _ => text
            .parse::<toml::Table>()?
            .get("app")
            .and_then(|app| app.as_str())
            .map(str::to_owned),
    };
    Ok(app.filter(|app| !app.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_names_its_app() {
        for (name, text, app) in [
            (
                "fly.toml",
                "# x\napp = 'web'\n[build]\nimage='a'",
                Some("web"),
            ),
            ("fly.toml", "[env]\napp = 'not-this'", None),
            ("fly.json", r#"{"app":"web"}"#, Some("web")),
            ("fly.yaml", "app: \"web\"\nenv:\n  app: other", Some("web")),
            ("staging.toml", "app = \"web-staging\"", Some("web-staging")),
        ] {
            assert_eq!(app_in(Path::new(name), text).unwrap().as_deref(), app);
        }
    }

    #[test]
    fn the_flag_beats_the_directory_and_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("fly.toml"), "app = 'here'").unwrap();
        fs::write(path("dev.toml"), "app = 'dev'").unwrap();
        let app = |config: Option<PathBuf>| configured_app(directory.path(), config.as_deref());
        assert_eq!(app(None).unwrap().as_deref(), Some("here"));
        assert_eq!(app(Some(path("dev.toml"))).unwrap().as_deref(), Some("dev"));
        let whole = directory.path().to_owned();
        assert_eq!(app(Some(whole)).unwrap().as_deref(), Some("here"));
        assert!(app(Some(path("none.toml"))).is_err());
        fs::write(path("fly.toml"), "app = ").unwrap();
        assert!(format!("{:#}", app(None).unwrap_err()).contains("fly.toml"));
    }
}
