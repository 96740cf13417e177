use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use mayfly_edge::{BucketConfig, BucketKey, Buckets};
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

fn any_region() -> String {
    "auto".to_owned()
}

/// The buckets apps may name; keys are read now, so that a wrong path is found at the start.
pub(crate) fn buckets(section: StaticsSection) -> anyhow::Result<Buckets> {
    if let Some(path) = &section.ca_file {
        std::fs::metadata(path)
            .with_context(|| format!("read statics.ca_file {}", path.display()))?;
    }
    let mut known = BTreeMap::new();
    for (name, bucket) in section.buckets {
        let at = format!("statics.buckets.{name}");
        let config = checked(bucket, &at)?;
        known.insert(name, config);
    }
    Ok(Buckets::new(known, section.ca_file))
}

fn checked(bucket: BucketSection, at: &str) -> anyhow::Result<BucketConfig> {
    let endpoint = bucket.endpoint.trim_end_matches('/');
    let host = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    anyhow::ensure!(
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '@'])),
        "{at}.endpoint must be http:// or https:// and a host, such as https://s3.example.com"
    );
    let key = match (bucket.access_key_id, bucket.secret_access_key_file) {
        (None, None) => None,
        (Some(id), Some(path)) => {
            let secret = std::fs::read_to_string(&path)
                .with_context(|| format!("read {at}.secret_access_key_file {}", path.display()))?;
            Some(BucketKey {
                id,
                secret: Secret::new(secret.trim_end_matches(['\r', '\n'])),
            })
        }
        _ => anyhow::bail!(
            "{at}: access_key_id and secret_access_key_file belong together; with neither, files are asked for unsigned"
        ),
    };
    Ok(BucketConfig {
        endpoint: endpoint.to_owned(),
        region: bucket.region,
        key,
        apps: bucket.apps,
    })
}
