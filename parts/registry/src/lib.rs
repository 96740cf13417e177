//! The registry of a cloud: container images of its apps, pushed and pulled by the OCI distribution protocol, version
//! 1.1, <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>.
//!
//! [`Registry`] owns one directory. Content is stored once, by digest; a repository says with links which of it belongs
//! to it, so that nobody reads another app's layers by knowing a digest. Everything is written beside its place, flushed
//! and renamed: what was acknowledged survives a power cut, and an upload goes on after a restart of the process.
//!
//! Layers may lie in a bucket of an object storage instead; names, tags and manifests stay in the directory. Images of
//! other registries are shown under `mirror/<registry>/…`, brought when somebody asks, and kept for when their registry is
//! away.
//!
//! The registry does not know users or machines: whoever embeds it says who may enter, and which images are in use,
//! with [`Access`].

mod access;
mod blobs;
mod collect;
mod content;
mod document;
mod error;
mod http;
mod layout;
mod locks;
mod manifests;
mod name;
mod origin;
mod remote;
mod sending;
mod settings;
mod store;
mod tags;
mod upload;

pub use access::{Access, AccessError, Entry, Needed, Right, Shown};
pub use collect::{Collected, Collector};
pub use error::RegistryError;
pub use http::{Door, router};
pub use name::{InvalidName, RepositoryName};
pub use origin::{OriginError, OriginManifest, Origins};
pub use settings::{BlobBucket, RegistryLimits, RegistrySettings};
pub use store::Registry;
