use std::collections::BTreeMap;
use std::path::PathBuf;

use mayfly_types::{Digest, ImageRef, Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// An image the host knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Pinned: carries the manifest's digest.
    pub image: ImageRef,
    pub digest: Digest,
    pub labels: BTreeMap<String, String>,
    /// Compressed size of all layers, in bytes.
    pub size_bytes: u64,
    pub layers: usize,
    pub architecture: String,
    pub created_at: Option<Timestamp>,
    /// Whether all layers are unpacked on this host.
    pub ready: bool,
    /// Machines of this host that need it.
    pub used_by: usize,
}

/// Where to import from: a path on the host's disk to an OCI layout (directory or tar) or a docker archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    pub path: PathBuf,
    /// The name to give the image; needed when the archive names none.
    pub name: Option<ImageRef>,
}

/// Credentials for a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    pub username: String,
    pub password: Secret,
}

/// A pull under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgress {
    pub image: ImageRef,
    pub layers_done: usize,
    pub layers: usize,
    pub bytes_done: u64,
    pub bytes: u64,
    pub error: Option<String>,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    pub images: Vec<ImageRef>,
    pub layers: usize,
    pub freed_bytes: u64,
}
