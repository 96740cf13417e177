//! The program as users and scripts see it, against a cloud that says what each test wrote down.

#![allow(clippy::unwrap_used)]

mod answers;
mod changes;
mod config;
mod exec;
mod images;
mod ips;
mod launch;
mod names;
mod network_policies;
mod runner;
mod sample;
mod server;
mod session;
mod streams;
mod terminal;
mod without_terminal;
