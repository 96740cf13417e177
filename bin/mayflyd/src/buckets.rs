use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use mayfly_buckets::{AccessKey, Bucket};
use mayfly_edge::{BucketConfig, Buckets};
use mayfly_types::{AppName, Secret};
use serde::Deserialize;

/// The file's `[statics]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StaticsSection {
    ca_file: Option<PathBuf>,
    buckets: BTreeMap<String, BucketSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketSection {
    endpoint: String,
    #[serde(default = "any_region")]
    region: String,
    access_key_id: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    apps: Option<Vec<AppName>>,
}

pub(crate) fn any_region() -> String {
    "auto".to_owned()
}

/// The buckets apps may name; keys are read now, so that a wrong path is found at the start.
pub(crate) fn buckets(section: StaticsSection) -> anyhow::Result<Buckets> {
    if let Some(path) = &section.ca_file {
        std::fs::metadata(path)
            .with_context(|| format!("read statics.ca_file {}", path.display()))?;
    }
    let mut known = BTreeMap::new();
    for (name, section) in section.buckets {
        let at = format!("statics.buckets.{name}");
        let bucket = Bucket {
            endpoint: endpoint(&section.endpoint, &at)?,
            region: section.region,
            name: name.clone(),
            key: access_key(section.access_key_id, section.secret_access_key_file, &at)?,
        };
        let apps = section.apps;
        known.insert(name, BucketConfig { bucket, apps });
    }
    Ok(Buckets::new(known, section.ca_file))
}

/// Where a storage is, without a slash at the end.
pub(crate) fn endpoint(text: &str, at: &str) -> anyhow::Result<String> {
    let endpoint = text.trim_end_matches('/');
    let host = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    anyhow::ensure!(
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '@'])),
        "{at}.endpoint must be http:// or https:// and a host, such as https://s3.example.com"
    );
    Ok(endpoint.to_owned())
}

/// The key with its secret read, or none.
pub(crate) fn access_key(
    id: Option<String>,
    secret_file: Option<PathBuf>,
    at: &str,
) -> anyhow::Result<Option<AccessKey>> {
    match (id, secret_file) {
        (None, None) => Ok(None),
        (Some(id), Some(path)) => {
            let secret = std::fs::read_to_string(&path)
                .with_context(|| format!("read {at}.secret_access_key_file {}", path.display()))?;
            let secret = Secret::new(secret.trim_end_matches(['\r', '\n']));
            Ok(Some(AccessKey { id, secret }))
        }
        _ => anyhow::bail!(
            "{at}: access_key_id and secret_access_key_file belong together; with neither, requests are not signed"
        ),
    }
}
