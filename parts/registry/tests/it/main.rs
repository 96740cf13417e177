//! The registry over HTTP, in a directory of its own, with people and machines that the test makes up.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod blobs;
mod collecting;
mod desk;
mod elsewhere;
mod limits;
mod manifests;
mod mirror;
mod skopeo;
