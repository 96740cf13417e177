//! `config.yml`: flat `key: value` lines, of which every line we do not know stays as it is.
//!
//! The file has a handful of text values at its top level, so a YAML engine would be a hundred times the code for
//! nothing; nested values of other programs are kept but not read.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::private_file::write_private;

/// The config file's text, and where it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    path: Option<PathBuf>,
    lines: Vec<String>,
}

impl ConfigFile {
    /// Reads the file at `path`; a missing file is an empty one. Without a path nothing is read and nothing can be saved.
    pub(crate) fn load(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let text = match &path {
            None => String::new(),
            Some(path) => match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => {
                    return Err(error).with_context(|| format!("read {}", path.display()));
                }
            },
        };
        Ok(Self {
            path,
            ..Self::parse(&text)
        })
    }

    /// The lines of `text`, without a place to save them.
    pub(crate) fn parse(text: &str) -> Self {
        Self {
            path: None,
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The value of a top-level key; an empty value counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let line = self.lines.iter().find(|line| key_of(line) == Some(key))?;
        let (_, value) = line.split_once(':')?;
        Some(unquoted(value)).filter(|value| !value.is_empty())
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let line = format!("{key}: {}", quoted(value));
        match self.lines.iter().position(|line| key_of(line) == Some(key)) {
            Some(at) => self.lines[at] = line,
            None => self.lines.push(line),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.lines.retain(|line| key_of(line) != Some(key));
    }

    /// Writes the file so that a reader sees the old or the new one, never a part, and nobody else can read it.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let path = self
            .path
            .as_deref()
            .context("no place for the config file: neither HOME nor FLY_CONFIG_DIR is set")?;
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        write_private(path, text.as_bytes()).with_context(|| format!("write {}", path.display()))
    }
}

/// The key of a top-level line; comments, nested lines and list items have none.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    plain.then_some(key)
}

/// Plain, single-quoted and double-quoted scalars: <https://yaml.org/spec/1.2.2/#73-flow-scalar-styles>.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    if let Some(rest) = value.strip_prefix('"') {
        // A double-quoted YAML scalar without the rarer escapes is a JSON string.
        let end = rest
            .char_indices()
            .scan(false, |escaped, (at, letter)| {
                let ends = letter == '"' && !*escaped;
                *escaped = letter == '\\' && !*escaped;
                Some((at, ends))
            })
            .find_map(|(at, ends)| ends.then_some(at));
        let body = end.map_or(rest, |end| &rest[..end]);
        return serde_json::from_str(&format!("\"{body}\"")).unwrap_or_else(|_| body.to_owned());
    }
    if let Some(rest) = value.strip_prefix('\'') {
        let body = rest.rfind('\'').map_or(rest, |end| &rest[..end]);
        return body.replace("''", "'");
    }
    let plain = value
        .find(" #")
        .map_or(value, |comment| &value[..comment])
        .trim_end();
    if plain.starts_with('#') || plain == "null" || plain == "~" {
        return String::new();
    }
    plain.to_owned()
}

fn quoted(value: &str) -> String {
    let plain = value.starts_with(|first: char| first.is_ascii_alphabetic())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:+=@".contains(&byte))
        && !value.ends_with(':')
        && !matches!(
            value,
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if plain {
        value.to_owned()
    } else {
        serde_json::Value::from(value).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn values_are_read_in_every_quoting() {
        for (line, value) in [
            ("access_token: fo1_abc", Some("fo1_abc")),
            ("access_token: FlyV1 fm2_a,fm2_b", Some("FlyV1 fm2_a,fm2_b")),
            ("access_token: \"a\\\"b # c\"   # note", Some("a\"b # c")),
            ("access_token: 'it''s'", Some("it's")),
            ("access_token: plain # note", Some("plain")),
            (
                "access_token: http://127.0.0.1:4280",
                Some("http://127.0.0.1:4280"),
            ),
            ("access_token:", None),
            ("access_token: \"\"", None),
            ("access_token: null", None),
            ("# access_token: a", None),
            ("  access_token: nested", None),
        ] {
            assert_eq!(
                ConfigFile::parse(line).get("access_token").as_deref(),
                value,
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_set_is_read_back_and_the_rest_stays() {
        let mut config = ConfigFile::parse(
            "# mine\nwire_guard_state:\n  personal: {peer: a}\naccess_token: old",
        );
        for value in ["FlyV1 fm2_x", "1e5", "true", "a\"b\\c", " lead", "x:"] {
            config.set("access_token", value);
            assert_eq!(config.get("access_token").as_deref(), Some(value));
        }
        config.set("api_base_url", "http://127.0.0.1:4280");
        config.remove("access_token");
        assert_eq!(
            config.lines,
            [
                "# mine",
                "wire_guard_state:",
                "  personal: {peer: a}",
                "api_base_url: http://127.0.0.1:4280"
            ]
        );
    }

    #[test]
    fn a_saved_file_is_private_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fresh/config.yml");
        let mut config = ConfigFile::load(Some(path.clone())).unwrap();
        config.set("access_token", "a token");
        config.save().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "access_token: \"a token\"\n"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn saving_without_a_place_says_why() {
        let error = ConfigFile::default().save().unwrap_err();
        assert!(error.to_string().contains("FLY_CONFIG_DIR"), "{error}");
    }
}
