use mayfly_types::Digest;
use serde::{Deserialize, Serialize};

/// Manifests, indexes and configurations are small; a longer one is an attack or a mistake.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// What overlayfs mounts at most, with room for the machine's own layer.
pub(crate) const LAYERS_MAX: usize = 127;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Points at a blob. <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// One image: a configuration and its layers, lowest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Several images, for several platforms or names.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    #[error("read it as JSON")]
    Json(#[source] serde_json::Error),
    #[error("it is in Docker's old schema 1, which is not supported: push the image again")]
    Schema1,
    #[error("it is neither an image manifest nor an index of them")]
    Unknown,
    #[error("its configuration `{0}` is not that of a container image")]
    NotAnImage(String),
    #[error("it has {0} layers; at most {LAYERS_MAX} are supported")]
    TooManyLayers(usize),
    #[error("it lists {layers} layers and its configuration {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("it has no image for linux/{wanted}; it has {}", .offered.join(", "))]
    NoPlatform {
        wanted: String,
        offered: Vec<String>,
    },
}

impl Document {
    /// Reads a manifest or index; what it is follows from its fields, since media types are often missing or wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Document, InvalidManifest> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(InvalidManifest::Json)?;
        if value.get("manifests").is_some() {
            let index = serde_json::from_value(value).map_err(InvalidManifest::Json)?;
            return Ok(Document::Index(index));
        }
        if value
            .get("schemaVersion")
            .and_then(serde_json::Value::as_u64)
            == Some(1)
        {
            return Err(InvalidManifest::Schema1);
        }
        if value.get("config").is_none() || value.get("layers").is_none() {
            return Err(InvalidManifest::Unknown);
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(InvalidManifest::Json)?;
        if manifest.layers.len() > LAYERS_MAX {
            return Err(InvalidManifest::TooManyLayers(manifest.layers.len()));
        }
        let config_type = &manifest.config.media_type;
        let known = config_type.is_empty()
            || config_type == OCI_CONFIG
            || config_type == "application/vnd.docker.container.image.v1+json"
            || config_type == "application/octet-stream";
        if !known {
            return Err(InvalidManifest::NotAnImage(
                config_type.chars().take(100).collect(),
            ));
        }
        Ok(Document::Manifest(manifest))
    }
}

impl Index {
    /// The entry for linux on `architecture`: one without a variant if there is one, else the first.
    ///
    /// An index with one entry and no platform, as tools write them into layouts, means that entry.
    pub(crate) fn for_platform(&self, architecture: &str) -> Result<&Descriptor, InvalidManifest> {
        if let [only] = self.manifests.as_slice()
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let fits = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_some_and(|platform| {
                platform.os == "linux" && platform.architecture == architecture
            })
        };
        let mut fitting = self.manifests.iter().filter(fits);
        let first = fitting.clone().next();
        let plain = fitting.find(|descriptor| {
            descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| platform.variant.is_none())
        });
        plain.or(first).ok_or_else(|| InvalidManifest::NoPlatform {
            wanted: architecture.to_owned(),
            offered: self
                .manifests
                .iter()
                .filter_map(|descriptor| descriptor.platform.as_ref())
                .filter(|platform| platform.os != "unknown")
                .take(20)
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests;
