//! The journal of one host: the only authority for what its machines are and do.
//!
//! [`HostStore`] keeps each machine with its phase, the addresses it was given, the reports about it that the control
//! plane has yet to read, the runs of scheduled machines, and the volumes with what is being done with them. A phase and the reports of its change are one
//! transaction; when a call returns, what it stored survives power loss. The journal is SQLite, embedded, one file:
//! a host has to find its machines without anybody's help.

mod address;
mod error;
mod events;
mod machines;
mod record;
mod runs;
mod schema;
mod store;
mod volumes;

pub use address::AddressPool;
pub use error::StoreError;
pub use machines::{Change, Stored};
pub use store::{HostStore, Opened};
pub use volumes::{StoredVolume, VolumePhase};
