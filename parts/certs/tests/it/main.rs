//! Authorities, sealing and look-ups through the public surface.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod authority;
mod resolver;
