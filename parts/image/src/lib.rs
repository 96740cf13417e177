//! The image store of a host: pulls and imports container images, and keeps their layers unpacked for overlayfs.
//!
//! [`ImageStore`] owns one directory. Manifests and configurations are blobs named by digest; every layer is unpacked
//! once into `layers/<diff id>` and shared by all images that contain it, with deletions in overlayfs form. Everything
//! is written beside its place, flushed and renamed, so a killed process leaves only what the next start sweeps away.
//!
//! Archives and registries are hostile until proven otherwise: bytes are checked against their digest before they are
//! read, and nothing in a layer can write outside its directory. The store does not know machines: who needs an image
//! says so with a [`Pinned`] guard while it works, and with [`Pruning::remove_except`] when space is reclaimed.

mod blobs;
mod config;
mod error;
mod image_config;
mod import;
mod index;
mod layer;
mod manifest;
mod mirrored;
mod peers;
mod pin;
mod prune;
mod pull;
mod registry;
mod store;
mod tar;
mod unpack;

pub use config::{LayerLimits, RegistryConfig, StoreConfig};
pub use error::ImageError;
pub use image_config::ImageConfig;
pub use import::{ImportError, SourceError};
pub use manifest::InvalidManifest;
pub use mirrored::Mirrored;
pub use peers::ImagePeers;
pub use pin::Pinned;
pub use prune::Pruning;
pub use registry::RegistryError;
pub use store::ImageStore;
pub use tar::TarError;
pub use unpack::{EntryError, InvalidPath, UnpackError};
