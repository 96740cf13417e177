use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::failure::Failure;

use super::MachineConfig;

/// Adds the files the flags name. One of a path that is there already replaces it; an empty value removes it.
pub(super) fn apply(
    config: &mut MachineConfig,
    flags: &[(&str, &Vec<String>)],
) -> anyhow::Result<()> {
    for (flag, values) in flags {
        for value in *values {
            let (path, source) = value
                .split_once('=')
                .filter(|(path, _)| path.starts_with('/'))
                .ok_or_else(|| {
                    Failure::new(format!("{flag}: `{value}` is not /path/in/machine=SOURCE"))
                })?;
            let file = match (source, *flag) {
                ("", _) => None,
                (_, "--file-local") => {
                    let content =
                        std::fs::read(source).with_context(|| format!("{flag}: read {source}"))?;
                    Some(json!({ "guest_path": path, "raw_value": STANDARD.encode(content) }))
                }
                (_, "--file-secret") => Some(json!({ "guest_path": path, "secret_name": source })),
                _ => Some(json!({ "guest_path": path, "raw_value": STANDARD.encode(source) })),
            };
            put(config, path, file);
        }
    }
    Ok(())
}

fn put(config: &mut MachineConfig, path: &str, file: Option<Value>) {
    let mut files = match config.remove("files") {
        Some(Value::Array(files)) => files,
        _ => Vec::new(),
    };
    let at = files
        .iter()
        .position(|listed| listed.get("guest_path") == Some(&Value::from(path)));
    match (at, file) {
        (Some(at), Some(file)) => files[at] = file,
        (Some(at), None) => {
            files.remove(at);
        }
        (None, Some(file)) => files.push(file),
        (None, None) => {}
    }
    if !files.is_empty() {
        config.insert("files".to_owned(), Value::from(files));
    }
}
