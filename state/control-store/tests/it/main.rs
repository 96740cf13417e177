//! The store over real databases: every test runs on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used)] // in helpers of the tests

mod apps;
mod autoscale;
mod certificates;
mod crash;
mod drains;
mod events;
mod fixture;
mod leases;
mod machines;
mod people;
mod reality;
mod releases;
mod retention;
mod schema;
mod secrets;
mod volumes;
mod wireguard_peers;
