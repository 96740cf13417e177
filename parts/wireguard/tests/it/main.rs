//! Tunnels between network namespaces. Needs root and `/dev/net/tun`.
#![allow(clippy::unwrap_used)]

mod foreign;
mod tunnel;
mod world;
