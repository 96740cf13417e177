//! Several servers as one fleet: who they are to each other, and how they speak.
//!
//! A [`Listener`] answers the calls of other servers for the hosts of this one; a [`RemoteHost`] makes a host of another
//! server look like one of this process; [`Peers`] keeps one for every host of the roster. A server that joined has a
//! [`Membership`], and a [`Follower`] that takes over what the control plane publishes. Every connection is mutual TLS by
//! certificates of the fleet's own authority, and every call is checked against the roster: whoever was removed from it is
//! a stranger, whatever certificate it has.
//!
//! Why direct connections and not a bus: `docs/design/fleet-transport.md`.

mod carry;
mod follower;
mod images;
mod led_api;
mod line;
mod link;
mod membership;
mod passage;
mod peers;
mod registry;
mod remote;
mod server;

pub use follower::{Follower, Published, Standing};
pub use images::FleetImages;
pub use led_api::LedApi;
pub use link::{Link, LinkError};
pub use membership::{JoinError, Membership};
pub use passage::Passage;
pub use peers::Peers;
pub use registry::{LedRegistry, RegistryContent};
pub use remote::RemoteHost;
pub use server::{Listener, ListenerDeps};
