//! The image store through its public surface: real archives, real registries, scripted broken ones.
//!
//! Needs `skopeo`, `docker-registry`, `openssl`, `gzip` and `zstd`.

#![allow(clippy::unwrap_used)]

mod crash;
mod import;
mod prune;
mod pull;
mod real_registry;
mod scripted;
mod store;
