//! The image store through its public surface: real archives, real registries, scripted broken ones.

#![allow(clippy::unwrap_used)]

mod import;
mod prune;
mod store;
