//! The durable supervisor of one server's machines.
//!
//! [`HostConfig::build`] opens the journal and makes a [`Host`]; [`Host::run`] continues whatever the journal says was
//! going on, until it is told to stop. Each machine has one actor, the only writer of its row: an event is decided by
//! `mayfly-machine`, stored, and only then acted on; what an action came to is the next event. Killing the daemon
//! anywhere therefore loses nothing: the stored phase says what is pending, and every effect may be repeated.
//!
//! Guests are not children of the daemon and outlive it; stopping the host touches none. How a guest is run is the
//! driver's business, what its image contains the image store's. This crate knows no HTTP and no users.

mod actor;
mod api;
mod checks;
mod config;
mod effects;
mod error;
mod host;
mod housemates;
mod launch;
mod logs;
mod loops;
mod measures;
mod private;
mod registry;
mod report;
mod runner_log;
mod server;
mod shells;
mod volumes;

pub use config::{HostConfig, HostDeps, Overcommit, door_dir};
pub use error::BuildError;
pub use host::Host;
pub use housemates::Housemates;
pub use server::Server;
