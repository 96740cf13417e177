//! The real daemon, real machines and real sockets, by public command only. Needs root.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod access;
mod addresses;
mod autoscale;
mod bad_input;
mod body;
mod browser;
mod builds;
mod certificates;
mod checks;
mod churn;
mod ci;
mod crash;
mod deploy;
mod fault_loop;
mod fleet;
mod flycast;
mod handover;
mod inside;
mod isolation;
mod launch;
mod lifecycle;
mod names;
mod network_isolation;
mod network_soak;
mod one_server;
mod outage;
mod outward;
mod quickstarts;
mod regions;
mod registry;
mod replay;
mod resolvers;
mod scale;
mod scale_to_zero;
mod shells;
mod statics;
mod store_away;
mod volumes;
mod walk_cli;
mod walk_http;
mod websocket;
mod wireguard;
