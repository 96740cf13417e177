//! The API over HTTP, on a store of its own and a fake host.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod access;
mod addresses;
mod bodies;
mod certificates;
mod directory;
mod drain;
mod events;
mod exec;
mod fake_gateway;
mod fake_host;
mod fake_names;
mod fleet;
mod leases;
mod limits;
mod machines;
mod places;
mod private;
mod recovery;
mod releases;
mod secrets;
mod stage;
mod volumes;
mod waits;
mod walk;
mod wireguard;
