//! The names machines ask for: `.internal` and `.flycast` from what hosts and the control plane publish, everything else
//! from the host's resolvers.
//!
//! Machines ask `fdaa::3`; the mesh leads that to [`NameServer`] on their own host. Who asks is known by the source
//! address, which the mesh lets nobody forge, and decides which network's names are seen. An unknown asker is refused.
//! With the control plane down, names go on from the last thing known.
//!
//! [`ChallengeServer`] is another one, for everybody: it shows certificate authorities the proofs that the owners of
//! names have delegated to this cloud.

mod challenges;
mod forward;
mod listener;
mod message;
mod server;
mod zone;

pub use challenges::{ChallengeServer, ChallengesConfig};
pub use listener::ListenError;
pub use server::{NameServer, NamesConfig, NamesDesk, Sources};
pub use zone::{Asker, Found, Kind, Names};
