use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mayfly_buckets::Bucket;
use mayfly_registry::{BlobBucket, RegistryLimits, RegistrySettings};
use serde::Deserialize;

use crate::buckets::{access_key, any_region, endpoint};
use crate::config::some_duration;

const COLLECT_PERIOD: Duration = Duration::from_secs(3600);
/// A push that was broken off can be taken up for this long without sending its layers again.
const UPLOADS_KEPT: Duration = Duration::from_secs(24 * 3600);
const UNTAGGED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART_BYTES: RangeInclusive<u64> = 5 << 20..=5 << 30;
const MIRRORED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Where the images are from that most Dockerfiles begin with.
const MIRRORS: [&str; 8] = [
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "lscr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "quay.io",
    "registry.k8s.io",
];

/// The file's `[registry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistrySection {
    blob_bytes: Option<u64>,
    app_bytes: Option<u64>,
    free_bytes: Option<u64>,
    requests: Option<usize>,
    #[serde(deserialize_with = "some_duration")]
    silence_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    collect_period: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    uploads_kept: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    untagged_kept: Option<Duration>,
    mirrors: Option<BTreeSet<String>>,
    #[serde(deserialize_with = "some_duration")]
    mirror_fresh: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    mirrored_kept: Option<Duration>,
    bucket: Option<BlobBucketSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobBucketSection {
    endpoint: String,
    #[serde(default = "any_region")]
    region: String,
    name: String,
    #[serde(default)]
    prefix: String,
    access_key_id: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    part_bytes: Option<u64>,
    ca_file: Option<PathBuf>,
}

/// The registry of this cloud, after the file was checked.
#[derive(Debug)]
pub(crate) struct RegistryConfig {
    pub(crate) settings: RegistrySettings,
    pub(crate) collect_period: Duration,
    pub(crate) uploads_kept: Duration,
    pub(crate) untagged_kept: Duration,
    pub(crate) mirrored_kept: Duration,
    /// The registries it is a mirror of.
    pub(crate) mirrors: BTreeSet<String>,
}

impl RegistryConfig {
    pub(crate) fn check(section: RegistrySection) -> anyhow::Result<Self> {
        let usual = RegistryLimits::default();
        let limits = RegistryLimits {
            blob_bytes_max: section.blob_bytes.unwrap_or(usual.blob_bytes_max),
            app_bytes_max: section.app_bytes,
            free_bytes_min: section.free_bytes.unwrap_or(usual.free_bytes_min),
            requests_max: section.requests.unwrap_or(usual.requests_max),
            silence_max: section.silence_timeout.unwrap_or(usual.silence_max),
            mirror_fresh: section.mirror_fresh.unwrap_or(usual.mirror_fresh),
        };
        anyhow::ensure!(
            limits.blob_bytes_max > 0,
            "registry.blob_bytes must be 1 or more"
        );
        anyhow::ensure!(
            limits.requests_max > 0,
            "registry.requests must be 1 or more"
        );
        anyhow::ensure!(
            !limits.silence_max.is_zero(),
            "registry.silence_timeout must be longer than 0s"
        );
        let collect_period = section.collect_period.unwrap_or(COLLECT_PERIOD);
        anyhow::ensure!(
            collect_period >= Duration::from_millis(100),
            "registry.collect_period must be 100ms or more"
        );
        let mirrors = section
            .mirrors
            .unwrap_or_else(|| MIRRORS.map(str::to_owned).into());
        for name in &mirrors {
            let is_host = |text: &str| text.parse::<mayfly_types::ImageRef>().is_ok();
            anyhow::ensure!(
                name.contains('.') && !name.contains([':', '/']) && is_host(&format!("{name}/a")),
                "registry.mirrors: `{name}` must be the name of a registry without a port, such as docker.io"
            );
        }
        Ok(Self {
            settings: RegistrySettings {
                limits,
                bucket: section.bucket.map(blob_bucket).transpose()?,
            },
            collect_period,
            uploads_kept: section.uploads_kept.unwrap_or(UPLOADS_KEPT),
            untagged_kept: section.untagged_kept.unwrap_or(UNTAGGED_KEPT),
            mirrored_kept: section.mirrored_kept.unwrap_or(MIRRORED_KEPT),
            mirrors,
        })
    }
}

fn blob_bucket(section: BlobBucketSection) -> anyhow::Result<BlobBucket> {
    const AT: &str = "registry.bucket";
    if let Some(path) = &section.ca_file {
        std::fs::metadata(path).with_context(|| format!("read {AT}.ca_file {}", path.display()))?;
    }
    anyhow::ensure!(
        !section.name.is_empty() && !section.name.contains('/'),
        "{AT}.name must be the name of a bucket"
    );
    let part_bytes = section.part_bytes.unwrap_or(BlobBucket::PART_BYTES);
    anyhow::ensure!(
        PART_BYTES.contains(&part_bytes),
        "{AT}.part_bytes must be from 5242880 (5 MiB) to 5368709120 (5 GiB), which is what storages take"
    );
    Ok(BlobBucket {
        bucket: Bucket {
            endpoint: endpoint(&section.endpoint, AT)?,
            region: section.region,
            name: section.name,
            key: access_key(section.access_key_id, section.secret_access_key_file, AT)?,
        },
        prefix: section.prefix,
        part_bytes,
        ca_file: section.ca_file,
    })
}
