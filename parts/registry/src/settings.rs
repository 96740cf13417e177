use std::path::PathBuf;
use std::time::Duration;

use mayfly_buckets::Bucket;

/// How a registry keeps what it is given, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    pub limits: RegistryLimits,
    /// Where layers go; `None` keeps them in the registry's directory.
    pub bucket: Option<BlobBucket>,
}

/// A place for layers in a bucket of an object storage.
#[derive(Clone, Debug)]
pub struct BlobBucket {
    pub bucket: Bucket,
    /// What keys begin with; empty or in parts divided by slashes.
    pub prefix: String,
    /// Longer content goes there in parts of so many bytes. Most storages take no parts below 5 MiB.
    pub part_bytes: u64,
    /// Authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
}

impl BlobBucket {
    pub const PART_BYTES: u64 = 64 << 20;
}

#[derive(Clone, Debug)]
pub struct RegistryLimits {
    /// Bytes of one blob.
    pub blob_bytes_max: u64,
    /// Bytes of all blobs of one app; `None` for no limit but the disk's.
    pub app_bytes_max: Option<u64>,
    /// Bytes that stay free on the disk: it is not the registry's alone.
    pub free_bytes_min: u64,
    /// Requests at once until their answer begins, over all callers; each upload among them holds a few pieces in memory.
    pub requests_max: usize,
    /// Longest silence of a sender; what has come is kept.
    pub silence_max: Duration,
    /// How long a mirrored tag is believed before its origin is asked again.
    pub mirror_fresh: Duration,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            blob_bytes_max: 64 << 30,
            app_bytes_max: None,
            free_bytes_min: 1 << 30,
            requests_max: 256,
            silence_max: Duration::from_secs(60),
            mirror_fresh: Duration::from_secs(60),
        }
    }
}
