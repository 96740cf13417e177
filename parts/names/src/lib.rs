//! The names machines ask for: `.internal` and `.flycast` from what hosts and the control plane publish, everything else
//! from the host's resolvers.
//!
//! Machines ask `fdaa::3`; the mesh leads that to [`NameServer`] on their own host. Who asks is known by the source
//! address, which the mesh lets nobody forge, and decides which network's names are seen. An unknown asker is refused.
//! With the control plane down, names go on from the last thing known.

mod forward;
mod message;
mod server;
mod zone;

pub use server::{ListenError, NameServer, NamesConfig, NamesDesk, Sources};
pub use zone::{Asker, Found, Kind, Names};
