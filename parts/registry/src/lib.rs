//! The registry of a cloud: container images of its apps, pushed and pulled by the OCI distribution protocol, version
//! 1.1, <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>.
//!
//! [`Registry`] owns one directory. Content is stored once, by digest; a repository says with links which of it belongs
//! to it, so that nobody reads another app's layers by knowing a digest. Everything is written beside its place, flushed
//! and renamed: what was acknowledged survives a power cut, and an upload goes on after a restart of the process.
//!
//! The registry does not know users or machines: whoever embeds it says who may enter, and which images are in use,
//! with [`Access`].

mod access;
mod blobs;
mod collect;
mod document;
mod error;
mod http;
mod layout;
mod manifests;
mod name;
mod store;
mod tags;
mod upload;

pub use access::{Access, AccessError, Entry, Needed};
pub use collect::{Collected, Collector};
pub use error::RegistryError;
pub use http::{Door, router};
pub use name::{InvalidName, RepositoryName};
pub use store::Registry;
