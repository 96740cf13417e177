//! The edge through its listeners, with scripted machines behind it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod connections;
mod errors;
mod exchange;
mod h2_backend;
mod headers;
mod http2;
mod http2_floods;
mod http2_frames;
mod limits;
mod options;
mod peers;
mod raw;
mod replays;
mod retries;
mod smuggling;
mod stage;
mod tls;
mod wishes;

pub(crate) use stage::*;
