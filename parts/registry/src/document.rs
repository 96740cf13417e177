//! What is read out of manifests, and what is kept of that.

use std::collections::BTreeMap;

use mayfly_types::Digest;
use serde::{Deserialize, Serialize};

use crate::RegistryError;

/// Manifests are small; the protocol's own bound is the same.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// What is kept of a manifest beside its bytes, which are a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) subject: Option<Digest>,
    /// Blobs and manifests without which it is of no use.
    pub(crate) needs: Vec<Digest>,
}

const VERSION: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Descriptor {
    /// Layers that are fetched from elsewhere, as of Windows images.
    fn is_foreign(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

/// The size that a manifest states for something it needs.
pub(crate) fn stated_size(manifest: &[u8], wanted: Digest) -> Option<u64> {
    let document: Document = serde_json::from_slice(manifest).ok()?;
    let lists = [document.layers, document.manifests];
    let mut all = document
        .config
        .into_iter()
        .chain(lists.into_iter().flatten().flatten());
    let found = all.find(|descriptor| descriptor.digest == wanted);
    found.map(|descriptor| descriptor.size)
}

impl Record {
    /// Reads a manifest of the media type that was stated for it.
    pub(crate) fn read(
        bytes: &[u8],
        digest: Digest,
        media_type: &str,
    ) -> Result<Record, RegistryError> {
        let invalid = |text: String| RegistryError::InvalidManifest(text);
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("it is no manifest: {error}")))?;
        if document.schema_version != 2 {
            return Err(invalid(format!(
                "its schemaVersion is {}, and only 2 is supported",
                document.schema_version
            )));
        }
        if let Some(own) = &document.media_type
            && own != media_type
        {
            return Err(invalid(format!(
                "it was sent as {media_type:?} and says it is {own:?}"
            )));
        }
        let config_type = document.config.as_ref().map(|config| &config.media_type);
        let artifact_type = document
            .artifact_type
            .filter(|text| !text.is_empty())
            .or_else(|| config_type.cloned());
        let content = match (document.manifests, document.config, document.layers) {
            (Some(manifests), None, _) => manifests,
            (None, Some(config), layers) => {
                let mut content = vec![config];
                content.extend(layers.into_iter().flatten());
                content
            }
            _ => {
                return Err(invalid(
                    "it must have either \"manifests\" or \"config\" with \"layers\"".to_owned(),
                ));
            }
        };
        let mut needs: Vec<Digest> = content
            .iter()
            .filter(|descriptor| !descriptor.is_foreign())
            .map(|descriptor| descriptor.digest)
            .collect();
        needs.sort();
        needs.dedup();
        Ok(Record {
            version: VERSION,
            digest,
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            artifact_type,
            annotations: document.annotations.unwrap_or_default(),
            subject: document.subject.map(|subject| subject.digest),
            needs,
        })
    }

    pub(crate) fn from_json(bytes: &[u8]) -> std::io::Result<Record> {
        let record: Record = serde_json::from_slice(bytes).map_err(std::io::Error::other)?;
        if record.version == VERSION {
            Ok(record)
        } else {
            Err(std::io::Error::other(format!(
                "a manifest's record has version {}, this program reads {VERSION}",
                record.version
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Result<Record, RegistryError> {
        Record::read(text.as_bytes(), DIGEST.parse().unwrap(), "a/b")
    }

    #[test]
    fn what_is_needed_is_found_and_nonsense_refused() {
        let one = format!(r#"{{"mediaType":"c/d","digest":"{DIGEST}","size":0}}"#);
        let image =
            format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{one}],"subject":{one}}}"#);
        let record = read(&image).unwrap();
        assert_eq!(record.needs.len(), 1);
        let empty = DIGEST.parse().unwrap();
        assert_eq!(stated_size(image.as_bytes(), empty), Some(0));
        assert_eq!(stated_size(b"{}", empty), None);
        assert_eq!(record.artifact_type.as_deref(), Some("c/d"));
        assert!(record.subject.is_some());
        let foreign = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"{DIGEST}","size":0,"urls":["https://x"]}}]}}"#
        );
        assert!(read(&foreign).unwrap().needs.is_empty());
        for wrong in [
            "",
            "{}",
            r#"{"schemaVersion":1,"manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"layers":[]}"#,
            r#"{"schemaVersion":2,"mediaType":"x/y","manifests":[]}"#,
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1"}]}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
