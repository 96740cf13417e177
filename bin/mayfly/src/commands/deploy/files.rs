use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use mayfly_appconfig::{AppConfig, File};

use crate::failure::Failure;

/// Files that machines find, beside those of the configuration.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Files in machines")]
pub(super) struct FileFlags {
    /// A file of this content. May be given more than once
    #[arg(long, value_name = "/PATH=TEXT")]
    file_literal: Vec<String>,
    /// A copy of a file here. May be given more than once
    #[arg(long, value_name = "/PATH=LOCAL")]
    file_local: Vec<String>,
    /// A file with the value of a secret, which is base64. May be given more than once
    #[arg(long, value_name = "/PATH=SECRET")]
    file_secret: Vec<String>,
}

impl FileFlags {
    pub(super) fn is_empty(&self) -> bool {
        self.file_literal.is_empty() && self.file_local.is_empty() && self.file_secret.is_empty()
    }

    /// Adds them for every process group; one of a path that is there already takes its place.
    pub(super) fn apply(&self, config: &mut AppConfig) -> anyhow::Result<()> {
        let groups: Vec<String> = config.groups().into_iter().map(str::to_owned).collect();
        let mut wanted = Vec::new();
        for text in &self.file_literal {
            let (path, content) = split("--file-literal", text)?;
            wanted.push(File {
                raw_value: Some(STANDARD.encode(content)),
                ..at(path, &groups)
            });
        }
        for text in &self.file_local {
            let (path, source) = split("--file-local", text)?;
            let content = std::fs::read(Path::new(source))
                .with_context(|| format!("--file-local: read {source}"))?;
            wanted.push(File {
                raw_value: Some(STANDARD.encode(content)),
                ..at(path, &groups)
            });
        }
        for text in &self.file_secret {
            let (path, name) = split("--file-secret", text)?;
            wanted.push(File {
                secret_name: Some(name.to_owned()),
                ..at(path, &groups)
            });
        }
        let files = config.files.get_or_insert_default();
        files.retain(|file| wanted.iter().all(|new| new.guest_path != file.guest_path));
        files.extend(wanted);
        Ok(())
    }
}

fn at(path: &str, groups: &[String]) -> File {
    File {
        guest_path: Some(path.to_owned()),
        processes: Some(groups.to_vec()),
        ..File::default()
    }
}

fn split<'a>(flag: &str, text: &'a str) -> anyhow::Result<(&'a str, &'a str)> {
    let pair = text.split_once('=');
    pair.filter(|(path, source)| path.starts_with('/') && !source.is_empty())
        .ok_or_else(|| {
            Failure::new(format!("{flag}: `{text}` is not /path/in/machine=SOURCE")).into()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_flags_take_the_place_of_those_of_the_configuration() {
        let mut config = AppConfig::from_value(&json!({
            "processes": { "web": "", "job": "" },
            "files": [
                { "guest_path": "/a", "raw_value": "YQ==" },
                { "guest_path": "/b", "raw_value": "Yg==", "processes": ["web"] },
            ],
        }))
        .unwrap();
        let flags = FileFlags {
            file_literal: vec!["/a=x=y".to_owned()],
            file_secret: vec!["/c=KEY".to_owned()],
            ..FileFlags::default()
        };
        flags.apply(&mut config).unwrap();
        assert_eq!(
            config.to_value()["files"],
            json!([
                { "guest_path": "/b", "raw_value": "Yg==", "processes": ["web"] },
                { "guest_path": "/a", "raw_value": "eD15", "processes": ["job", "web"] },
                { "guest_path": "/c", "secret_name": "KEY", "processes": ["job", "web"] },
            ])
        );
        let wrong = FileFlags {
            file_local: vec!["a=b".to_owned()],
            ..FileFlags::default()
        };
        let error = wrong.apply(&mut config).unwrap_err().to_string();
        assert!(error.contains("--file-local"), "{error}");
    }
}
