use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mayfly_host_api::RegistryLogin;
use mayfly_runtime::Backoff;

/// What the store may use and where registries are.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Which image of a multi-platform index is taken, in OCI words: `amd64`, `arm64`.
    pub architecture: String,
    /// Registries that are reached at another address than their name says, or without TLS.
    pub registries: BTreeMap<String, RegistryConfig>,
    /// Who to be at a registry when a caller brings no login of their own.
    pub logins: BTreeMap<String, RegistryLogin>,
    /// Certificate authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// Layers fetched at the same time, over all pulls.
    pub downloads_max: usize,
    /// Layers unpacked at the same time, over all pulls and imports.
    pub unpacks_max: usize,
    /// Tries of one transfer that bring no new byte before it fails.
    pub attempts_max: u32,
    pub backoff: Backoff,
    /// Keeps the archives of imported layers, for a mirror that shows them.
    pub keeps_archives: bool,
    /// Longest silence of a registry.
    pub silence_max: Duration,
    pub limits: LayerLimits,
}

/// Where a registry really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `http://` or `https://`, host, and optionally a port: what comes before `/v2/`.
    pub base_url: String,
}

/// What one layer may contain. The defaults hold every image we know of and keep a bomb from filling a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLimits {
    pub entries: u64,
    /// Bytes of the uncompressed archive, and of the files written from it.
    pub bytes: u64,
    /// Uncompressed bytes for each compressed one, once `ratio_free_bytes` have come out.
    pub ratio: u64,
    pub ratio_free_bytes: u64,
    pub path_bytes: usize,
    /// Directories within directories.
    pub depth: usize,
    /// Names, links and attributes of one entry together.
    pub header_bytes: usize,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            bytes: 64 << 30,
            ratio: 200,
            ratio_free_bytes: 1 << 30,
            path_bytes: 4096,
            depth: 256,
            header_bytes: 1 << 20,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            architecture: oci_architecture(std::env::consts::ARCH).to_owned(),
            registries: BTreeMap::new(),
            logins: BTreeMap::new(),
            ca_file: None,
            downloads_max: 4,
            unpacks_max: std::thread::available_parallelism().map_or(2, usize::from),
            attempts_max: 5,
            backoff: Backoff {
                first: Duration::from_millis(500),
                most: Duration::from_secs(15),
            },
            keeps_archives: false,
            silence_max: Duration::from_secs(30),
            limits: LayerLimits::default(),
        }
    }
}

/// Rust's word for a processor in the words of the OCI image specification, which are Go's.
fn oci_architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
