//! What programs are told of a cloud: where it is and who they are there, as variables.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context as _;
use mayfly_types::Secret;

use super::daemon::{DataDir, Status};

/// The variables, as `flyctl`, SDKs and `mayfly` itself read them.
pub(super) struct Exports {
    token: Secret,
    api: String,
    data_dir: String,
}

impl Exports {
    pub(super) fn of(data_dir: &DataDir, status: &Status) -> anyhow::Result<Self> {
        Ok(Self {
            token: data_dir.admin_token()?,
            api: status.api_url.clone().unwrap_or_default(),
            data_dir: data_dir.shown().to_string(),
        })
    }

    pub(super) fn pairs(&self) -> [(&'static str, &str); 4] {
        [
            ("FLY_API_TOKEN", self.token.reveal()),
            ("FLY_API_BASE_URL", &self.api),
            ("FLY_FLAPS_BASE_URL", &self.api),
            ("MAYFLY_DATA_DIR", &self.data_dir),
        ]
    }

    /// Lines for a shell's `eval`.
    pub(super) fn shell(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.pairs() {
            let value = value.replace('\'', r"'\''");
            writeln!(text, "export {name}='{value}'").expect("a String takes all");
        }
        text
    }

    /// Appends `NAME=VALUE` lines, as `$GITHUB_ENV` and env files have them. A new file is for its owner only.
    pub(super) fn append_to(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = String::new();
        for (name, value) in self.pairs() {
            writeln!(text, "{name}={value}").expect("a String takes all");
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("write {}", path.display()))
    }

    /// The line by which a runner of GitHub learns what it must not show, if this is one.
    pub(super) fn mask(&self, runner: Option<&OsStr>) -> Option<String> {
        let on_runner = runner.is_some_and(|value| value == "true");
        on_runner.then(|| format!("::add-mask::{}", self.token.reveal()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_reach_shells_and_files_as_they_are() {
        let exports = Exports {
            token: Secret::new("fo1_x"),
            api: "http://127.0.0.1:1".to_owned(),
            data_dir: "/tmp/it's".to_owned(),
        };
        assert_eq!(
            exports.shell(),
            "export FLY_API_TOKEN='fo1_x'\nexport FLY_API_BASE_URL='http://127.0.0.1:1'\n\
             export FLY_FLAPS_BASE_URL='http://127.0.0.1:1'\nexport MAYFLY_DATA_DIR='/tmp/it'\\''s'\n"
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        std::fs::write(&path, "A=1\n").unwrap();
        exports.append_to(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("A=1\nFLY_API_TOKEN=fo1_x\n"), "{text}");
        assert_eq!(exports.mask(None), None);
        let mask = exports.mask(Some(OsStr::new("true")));
        assert_eq!(mask.as_deref(), Some("::add-mask::fo1_x"));
    }
}
